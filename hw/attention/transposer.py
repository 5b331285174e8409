"""Turns rows of channels, as memory holds values, into rows of tokens, as the array takes them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.attention.geometry import BLOCK, turn_job, value_row
from hw.signatures import beat


__all__ = ["Transposer"]


#: Bytes of a slice in a beat, which is also the number of byte banks.
BANKS = 16


class Transposer(wiring.Component):
    """Transposes 32 tokens by 16 channels in each slice, and gives each tile to all groups.

    The numerical reference is :func:`verif.reference.transposer.transpose`.

    Byte ``i`` of token ``t`` lies in bank ``(i + t) % 16``, so that the 16 bytes of a token, and
    the 16 tokens of a byte, lie in different banks. Two tiles fit: one fills while one leaves, as
    often as there are groups of columns. A bank serves all slices.

    Latency
    -------
    :attr:`latency` cycles from the 32nd row of a tile, and from its job, to its first beat.

    Throughput
    ----------
    One row and one beat per cycle: 32 rows in, ``2 * height`` beats out for each group.
    ``i.ready`` does not depend on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(turn_job))``
        How the tiles that come leave. Rows are taken before their job comes.
    i : ``In(stream.Signature(value_row(config)))``
        32 rows for each tile, in token order.
    o : ``Out(stream.Signature(beat(config)))``
        Row 0 half 0, row 0 half 1, row 1 half 0, ...; scales are 0.
    """

    latency = 2

    def __init__(self, config):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(turn_job)),
            "i": In(stream.Signature(value_row(config))),
            "o": Out(stream.Signature(beat(config))),
        })

    def elaborate(self, platform):
        m = Module()
        slices = range(self.config.slices)
        lane   = 8 * self.config.slices

        # Control: which tile is written and read, and where in it.
        full       = Signal(2)
        w_tile     = Signal()
        w_token    = Signal(range(BLOCK))
        r_tile     = Signal()
        r_row      = Signal(range(BANKS))
        r_half     = Signal()
        do_write   = Signal()
        do_read    = Signal()
        advance    = Signal()
        read_last  = Signal()
        active, job = Signal(), Signal(turn_job)
        group, last_group, last_tile, fetch = Signal(4), Signal(), Signal(), Signal()
        height     = Signal(5)
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(w_tile, 1)),
            do_write.eq(self.i.valid & self.i.ready),
            advance.eq(~self.o.valid | self.o.ready),
            do_read.eq(advance & active & full.bit_select(r_tile, 1)),
            read_last.eq(do_read & r_half & (r_row + 1 == height)),
            last_group.eq(group + 1 == job.groups),
            last_tile.eq(job.tiles == 1),
            fetch.eq(~active | (read_last & last_group & last_tile)),
            self.jobs.ready.eq(fetch),
        ]
        with m.If(do_write):
            m.d.sync += w_token.eq(w_token + 1)
            with m.If(w_token == BLOCK - 1):
                m.d.sync += w_tile.eq(~w_tile)
                m.d.sync += full.bit_select(w_tile, 1).eq(1)
        with m.If(advance):
            m.d.sync += self.o.valid.eq(do_read)
        with m.If(do_read):
            m.d.sync += r_half.eq(~r_half)
            m.d.sync += r_row.eq(r_row + r_half)
        with m.If(read_last):
            m.d.sync += [r_row.eq(0), group.eq(group + 1)]
            with m.If(last_group):
                m.d.sync += [group.eq(0), r_tile.eq(~r_tile), job.tiles.eq(job.tiles - 1)]
                m.d.sync += full.bit_select(r_tile, 1).eq(0)
                with m.If(job.tiles == 2):
                    m.d.sync += height.eq(job.tail)
        with m.If(fetch):
            m.d.sync += [active.eq(self.jobs.valid), job.eq(self.jobs.p)]
            m.d.sync += height.eq(Mux(self.jobs.p.tiles == 1, self.jobs.p.tail, BANKS))

        # Write: lane i of the rotated row is bank i.
        lanes   = Cat(self.i.p[s][8 * i:8 * i + 8] for i in range(BANKS) for s in slices)
        written = self.rotate(m, lanes, w_token[:4], "up")

        # Read: each bank has the address of its own token, one cycle before the beat.
        s1_row = Signal(range(BANKS))
        with m.If(advance):
            m.d.sync += s1_row.eq(r_row)
        banks = []
        for n in range(BANKS):
            m.submodules[f"bank_{n}"] = bank = Memory(shape=lane, depth=2 * BLOCK, init=[])
            write, read = bank.write_port(), bank.read_port()
            token = Signal(range(BANKS), name=f"token_{n}")
            m.d.comb += [
                write.addr.eq(Cat(w_token, w_tile)),
                write.data.eq(written[n * lane:(n + 1) * lane]),
                write.en.eq(do_write),
                token.eq(n - r_row),
                read.addr.eq(Cat(token, r_half, r_tile)),
                read.en.eq(do_read),
            ]
            banks.append(read.data)
        turned = self.rotate(m, Cat(banks), s1_row, "down")
        for s in slices:
            m.d.comb += self.o.p.data[s].eq(Cat(turned[p * lane + 8 * s:p * lane + 8 * s + 8]
                                                for p in range(BANKS)))
        return m

    @staticmethod
    def rotate(m, value, lanes, direction):
        """``value`` of 16 lanes rotated by ``lanes`` lanes, to higher (up) or lower ones."""
        lane = len(value) // BANKS
        for k in range(4):
            amount  = lane << k
            rotated = value.rotate_left(amount) if direction == "up" else value.rotate_right(amount)
            level   = Signal(len(value), name=f"{direction}_{k}")
            m.d.comb += level.eq(Mux(lanes[k], rotated, value))
            value = level
        return value
