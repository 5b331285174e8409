"""Which tokens of a KV block the columns see."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.geometry import BLOCK, softmax_job


__all__ = ["sight", "seen", "Sight"]


#: Column 0 sees nothing up to ``LOW``, however many columns there are.
LOW = -64

#: What columns see of a block: its tokens below ``end + c``, but of those below ``start + c`` only
#: the first ``sinks``; c is the column if columns are ``tokens``, else 0.
sight = data.StructLayout({
    "columns": 7,
    "groups":  4,
    "tokens":  1,
    "end":     signed(7),
    "start":   signed(7),
    "sinks":   6,
})


def clamped(x):
    """Signed ``x``, at least :data:`LOW` and at most 32."""
    inside = x[:7].as_signed()
    return Mux(x[-1], Mux(x[6:].all(), inside, LOW), Mux(x[5:-1].any(), BLOCK, inside))


def below(limit, beat, lanes):
    """Which of the ``lanes`` tokens of a beat lie below ``limit``, 0 to 32."""
    split = exact_log2(lanes)
    whole = limit[split:] > beat
    part  = limit[split:] == beat
    return Cat(whole | (part & (limit[:split] > n)) for n in range(lanes))


def seen(m, view, column, beat, lanes):
    """Which tokens of a beat a column sees, as its view says: ``lanes`` bits, 2 cycles later."""
    # Stage 1: the column's own limits.
    s1_beat  = Signal.like(beat, reset_less=True)
    s1_sinks = Signal(6, reset_less=True)
    limits   = []
    for name in ("end", "start"):
        own   = Signal(signed(8), name=f"own_{name}")
        limit = Signal(6, name=f"s1_{name}", reset_less=True)
        m.d.comb += own.eq(view[name] + Mux(view.tokens, column, 0))
        m.d.sync += limit.eq(Mux(own < 0, 0, Mux(own > BLOCK, BLOCK, own)))
        limits.append(limit)
    m.d.sync += [s1_beat.eq(beat), s1_sinks.eq(view.sinks)]

    # Stage 2: what lies between them.
    end, start, sinks = (below(limit, s1_beat, lanes) for limit in (*limits, s1_sinks))
    s2_seen = Signal(lanes, reset_less=True)
    m.d.sync += s2_seen.eq(end & (~start | sinks))
    return s2_seen


class Sight(wiring.Component):
    """Finds what the columns see of a block, from its number and their positions.

    Column ``c`` has the position ``count - 1``, or, if columns are ``tokens``, ``count - columns +
    c``. It sees what :func:`verif.reference.pattern.seen` says. Differences of 32 bits are formed
    here, once for a block; what remains for each column has 7 bits.

    Latency
    -------
    5 cycles.

    Throughput
    ----------
    A block every 4 cycles. ``jobs.ready`` depends combinationally on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(softmax_job(config)))``
    o : ``Out(stream.Signature(sight))``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "jobs": In(stream.Signature(softmax_job(config))),
            "o":    Out(stream.Signature(sight)),
        })

    def elaborate(self, platform):
        m = Module()

        # Control: three steps; the fourth gives the result away, and takes the next job.
        step     = Signal(range(5))
        finish   = Signal()
        free     = Signal()
        m.d.comb += [
            finish.eq((step == 4) & (~self.o.valid | self.o.ready)),
            free.eq((step == 0) | finish),
            self.jobs.ready.eq(free),
        ]
        with m.If(free):
            m.d.sync += step.eq(self.jobs.valid)
        with m.Elif(step != 4):
            m.d.sync += step.eq(step + 1)

        # Steps: the end of what column 0 sees; from the block's start; the window before it.
        job   = Signal(softmax_job(self.config))
        value = Signal(signed(35))
        end   = Signal(signed(7))
        with m.If(free):
            m.d.sync += job.eq(self.jobs.p)
        with m.Switch(step):
            with m.Case(1):
                m.d.sync += value.eq(job.count - Mux(job.tokens, job.columns - 1, 0))
            with m.Case(2):
                m.d.sync += value.eq(value - (job.number << exact_log2(BLOCK)))
            with m.Case(3):
                m.d.sync += [end.eq(clamped(value)), value.eq(value - job.window)]

        # The result.
        sinks = Signal(signed(13))
        near  = len(job.sinks) - exact_log2(BLOCK)
        m.d.comb += sinks.eq(job.sinks - (job.number[:near] << exact_log2(BLOCK)))
        with m.If(finish):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.p.columns.eq(job.columns), self.o.p.groups.eq(job.groups),
                self.o.p.tokens.eq(job.tokens), self.o.p.end.eq(end),
                self.o.p.start.eq(Mux(job.window == 0, LOW, clamped(value))),
                self.o.p.sinks.eq(Mux((sinks < 0) | job.number[near:].any(), 0, clamped(sinks))),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
