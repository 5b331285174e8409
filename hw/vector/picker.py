"""Running argmax of rows of values."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2


__all__ = ["Picker"]


class Picker(wiring.Component):
    """Index of the largest value since the maximum was forgotten; the lowest index wins ties.

    The numerical reference is :func:`verif.reference.pick`. Each lane keeps the largest value
    that it has seen; the lanes are compared with each other when the index is wanted.

    Latency
    -------
    ``lanes + 2`` cycles from ``deliver`` to ``token.valid``, if the token before has gone.

    Throughput
    ----------
    One row each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start, index, forget : ``In(1)``, ``In(16)``, ``In(1)``
        Begin a command: rows that follow start at block ``index`` of the vector; ``forget`` the
        running maximum.
    valid, values : ``In(1)``, ``In(config.row_bits)``
        A row. No value is -0, and every NaN is 0x7FC00000.
    deliver : ``In(1)``
        Send the index. At least one cycle after the last row.
    busy : ``Out(1)``
        The index is still being found; the next ``start`` must wait.
    token : ``Out(stream.Signature(32))``
        Indices.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1), "index": In(16), "forget": In(1),
            "valid": In(1), "values": In(config.row_bits),
            "deliver": In(1), "busy": Out(1),
            "token": Out(stream.Signature(32)),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self.config.lanes
        row_bits = 16 + exact_log2(self.config.block_rows)
        # Compared as one integer: a greater value, or else a lower index, is greater. Nothing
        # else is as low as 0.
        best_layout = data.StructLayout({"row": row_bits, "key": 32})
        final_layout = data.StructLayout({"lane": bits_for(lanes - 1), "best": best_layout})

        # Rows.
        row    = Signal(row_bits)
        s1_row = Signal(row_bits)
        s1_valid = Signal()
        m.d.sync += [s1_valid.eq(self.valid), s1_row.eq(~row)]
        with m.If(self.start):
            m.d.sync += row.eq(self.index << (row_bits - 16))
        with m.Elif(self.valid):
            m.d.sync += row.eq(row + 1)

        # Each lane's maximum.
        best = [Signal(best_layout, name=f"best_{n}") for n in range(lanes)]
        for n in range(lanes):
            value = self.values.word_select(n, 32)
            s1_key = Signal(32, name=f"s1_key_{n}")
            is_nan = value[22:31].all()
            m.d.sync += s1_key.eq(Mux(is_nan, 0, value ^ Cat(value[31].replicate(31), Const(1, 1))))
            candidate = Signal(best_layout, name=f"candidate_{n}")
            m.d.comb += [candidate.row.eq(s1_row), candidate.key.eq(s1_key)]
            with m.If(s1_valid & (candidate.as_value() > best[n].as_value())):
                m.d.sync += best[n].eq(candidate)
        with m.If(self.start & self.forget):
            m.d.sync += [held.eq(0) for held in best]

        # The largest of all lanes: they pass by, and come back to where they were.
        folding = Signal()
        found   = Signal()
        lane    = Signal(bits_for(lanes - 1))
        final   = Signal(final_layout)
        entry   = Signal(final_layout)
        m.d.comb += [
            self.busy.eq(folding | found),
            entry.best.eq(best[0]), entry.lane.eq(~lane),
        ]
        with m.If(self.deliver):
            m.d.sync += [folding.eq(1), lane.eq(0), final.eq(0)]
        with m.If(folding):
            m.d.sync += [held.eq(after) for held, after in zip(best, best[1:] + best[:1])]
            m.d.sync += lane.eq(lane + 1)
            with m.If(entry.as_value() > final.as_value()):
                m.d.sync += final.eq(entry)
            with m.If(lane == lanes - 1):
                m.d.sync += [folding.eq(0), found.eq(1)]

        with m.If(self.token.ready):
            m.d.sync += self.token.valid.eq(0)
        with m.If(found & (~self.token.valid | self.token.ready)):
            m.d.sync += [
                found.eq(0), self.token.valid.eq(1),
                self.token.payload.eq(Cat(~final.lane, ~final.best.row)),
            ]
        return m
