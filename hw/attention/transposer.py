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

    Byte ``j`` of row ``r`` lies in bank ``(j + r) % 16``. A row is a token, or the tokens ``t`` of
    a half that have the same ``t % pitch``; then byte ``j`` is byte ``j % pitch`` of one of them.
    So the 16 bytes of a row lie in different banks, and so do the 16 tokens of a half: byte ``i``
    of token ``t`` in bank ``(i + t + half * pitch) % 16``. Two tiles fit: one fills while one
    leaves, as often as there are groups of columns. A bank serves all slices.

    Latency
    -------
    :attr:`latency` cycles from the last row of a tile, and from its job, to its first beat.

    Throughput
    ----------
    One row and one beat per cycle: ``2 * pitch`` rows in, ``2 * height`` beats out for each group.
    ``i.ready`` does not depend on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(turn_job))``
        How the tiles that come leave. Rows are taken before their job comes.
    i : ``In(stream.Signature(value_row(config)))``
        Rows of tiles, as :func:`verif.reference.kv.kv_read` finds them.
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
        w_beat     = Signal(range(BLOCK))
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
            m.d.sync += w_beat.eq(w_beat + 1)
            with m.If(self.i.p.last):
                m.d.sync += [w_beat.eq(0), w_tile.eq(~w_tile)]
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
        lanes   = Cat(self.i.p.data[s][8 * i:8 * i + 8] for i in range(BANKS) for s in slices)
        written = self.rotate(m, lanes, w_beat[:4], "up")

        # Read: each bank has the address of its own token, one cycle before the beat.
        pitch = Signal(range(BANKS + 1), init=BANKS)
        first = Signal(range(BLOCK))        # row of the half
        turn, s1_turn = Signal(range(BANKS)), Signal(range(BANKS))
        m.d.comb += [first.eq(Mux(r_half, pitch, 0)), turn.eq(r_row + first)]
        if self.config.value_pitch(1) < BANKS:
            with m.If(fetch):
                m.d.sync += pitch.eq(self.pitch(m, self.jobs.p))
        with m.If(advance):
            m.d.sync += s1_turn.eq(turn)
        banks = []
        for n in range(BANKS):
            m.submodules[f"bank_{n}"] = bank = Memory(shape=lane, depth=2 * BLOCK, init=[])
            write, read = bank.write_port(), bank.read_port()
            token = Signal(range(BANKS), name=f"token_{n}")
            row   = Signal(range(BLOCK), name=f"row_{n}")
            m.d.comb += [
                write.addr.eq(Cat(w_beat, w_tile)),
                write.data.eq(written[n * lane:(n + 1) * lane]),
                write.en.eq(do_write),
                token.eq(n - turn),
                row.eq(first | (token & (pitch - 1))),
                read.addr.eq(Cat(row, r_tile)),
                read.en.eq(do_read),
            ]
            banks.append(read.data)
        turned = self.rotate(m, Cat(banks), s1_turn, "down")
        for s in slices:
            m.d.comb += self.o.p.data[s].eq(Cat(turned[p * lane + 8 * s:p * lane + 8 * s + 8]
                                                for p in range(BANKS)))
        return m

    @staticmethod
    def pitch(m, job):
        """Bytes of a token: 16, or for a small head what its only tile needs, a power of two."""
        pitch = Signal(range(BANKS + 1), name="next_pitch")
        m.d.comb += pitch.eq(BANKS)
        for size in (8, 4, 2, 1):
            with m.If((job.tiles == 1) & (job.tail <= size)):
                m.d.comb += pitch.eq(size)
        return pitch

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
