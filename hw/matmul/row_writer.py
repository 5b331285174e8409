"""Writes rows of sums to the workspace, added to what it holds or not."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.float.add import FloatAdd
from hw.float.multiply import FloatMultiply
from hw.memory.queue import Queue
from hw.signatures import Raise, Take, row_read, row_write
from hw.verilog import shared

from .delays import delayed
from .layouts import TILE_ROWS, drained_row


__all__ = ["RowWriter"]


class RowWriter(wiring.Component):
    """Stores ``fl32(old + row)``, where ``old`` is 0 unless the row asks for it.

    If the configuration has formats with a factor, the row is multiplied by its factor before.

    Latency
    -------
    That of the adder, that of the multiplier if there is one, and 3 cycles.

    Throughput
    ----------
    One row each cycle, if reads are granted and writes accepted.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    rows : ``In(stream.Signature(drained_row))``
    read : ``Out(row_read)``
        Old rows.
    write : ``Out(stream.Signature(row_write))``
    take1 : ``Take``
        Taken before a row is read or written that asks for it.
    raise0 : ``Raise``
        Raised from the cycle on after a row that asks for it was written.
    busy : ``Out(1)``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "rows": In(stream.Signature(drained_row(config))),
            "read": Out(row_read(config)),
            "write": Out(stream.Signature(row_write(config))),
            "take1": Out(Take), "raise0": Out(Raise),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = range(self.config.lanes)
        fields = dict(drained_row(self.config))
        goal  = data.StructLayout({"address": ceil_log2(self.config.rows), "raise0": 4,
                                   "raises": fields["raises"].shape})
        row   = self.rows.p

        # Control: what goes has a place in the queue at the end.
        scales  = self.config.having("factor")
        waiting = FloatMultiply.latency if scales else 0
        places  = FloatAdd.latency + waiting + 4
        m.submodules.queue = queue = Queue(
            data.StructLayout({"goal": goal, "data": self.config.row_bits}), places)
        free = Signal(range(places + 1), init=places)
        # Rows that raise more than once may fall behind.
        unraised, raised = Signal(range(places + 1)), Signal()
        reads, may, go = Signal(), Signal(), Signal()
        m.d.comb += [
            reads.eq(row.add | row.keep_low | row.keep_high),
            self.take1.id.eq(row.take1),
            may.eq(self.rows.valid & self.take1.ok & (free != 0) & (unraised != places)
                   & ~(row.waits & (free != places))),
            self.read.request.valid.eq(may & reads),
            self.read.request.payload.eq(row.address),
            go.eq(may & (self.read.request.ready | ~reads)),
            self.take1.take.eq(go & (row.take1 != 0)),
            self.rows.ready.eq(go),
        ]
        written = Signal()
        m.d.comb += written.eq(self.write.valid & self.write.ready)
        m.d.sync += [free.eq(free - go + written),
                     unraised.eq(unraised + (go & (row.raise0 != 0)) - raised)]

        # Stage 1: the old row comes.
        s1 = Signal(drained_row(self.config))
        m.d.sync += s1.eq(row)
        keeps = {half: delayed(m, s1[f"keep_{half}"], waiting, f"keeps_{half}")
                 for half in ("low", "high")}
        adds  = delayed(m, s1.add, waiting, "adds")
        sums  = []
        for n in lanes:
            part = slice(32 * n, 32 * n + 32)
            keep = keeps["low" if n < TILE_ROWS else "high"]
            new  = s1.data[part]
            if scales:
                m.submodules[f"multiplier_{n}"] = multiplier = shared(
                    FloatMultiply(self.config.technology))
                m.d.comb += [multiplier.a.eq(new), multiplier.b.eq(s1.factor)]
                new = multiplier.o
            old = delayed(m, self.read.data[part], waiting, f"old_{n}")
            m.submodules[f"adder_{n}"] = adder = shared(FloatAdd())
            m.d.comb += [adder.a.eq(Mux(keep, 0, new)), adder.b.eq(Mux(keep | adds, old, 0))]
            sums.append(adder.o)
        s1_goal = Signal(goal)
        m.d.comb += [s1_goal[name].eq(s1[name]) for name in ("address", "raise0", "raises")]

        # After the adder: the new row.
        m.d.comb += [
            queue.i.valid.eq(delayed(m, go, 1 + waiting + FloatAdd.latency, "valid")),
            queue.i.p.goal.eq(delayed(m, s1_goal, waiting + FloatAdd.latency, "goal")),
            queue.i.p.data.eq(Cat(sums)),
            self.write.valid.eq(queue.o.valid),
            self.write.p.address.eq(queue.o.p.goal.address),
            self.write.p.data.eq(queue.o.p.data),
            queue.o.ready.eq(self.write.ready),
            self.busy.eq((free != places) | (unraised != 0)),
        ]

        # Raises, one a cycle.
        m.submodules.raises = raises = Queue(
            data.StructLayout({"id": 4, "times": fields["raises"].shape}), places)
        times = Signal(fields["raises"].shape)      # raised already
        m.d.comb += [
            raises.i.valid.eq(written & (queue.o.p.goal.raise0 != 0)),
            raises.i.p.id.eq(queue.o.p.goal.raise0), raises.i.p.times.eq(queue.o.p.goal.raises),
            self.raise0.id.eq(raises.o.p.id), self.raise0.en.eq(raises.o.valid),
            raised.eq(raises.o.valid & (times + 1 == raises.o.p.times)), raises.o.ready.eq(raised),
        ]
        with m.If(raises.o.valid):
            m.d.sync += times.eq(Mux(raised, 0, times + 1))
        return m
