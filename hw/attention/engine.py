"""Attention on the array: what stands before the matrix engine and beside it."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.forwarder import Forwarder
from hw.attention.front import Front
from hw.attention.geometry import BLOCK, select_job, softmax_job, turn_job
from hw.attention.router import Router
from hw.attention.softmax import Softmax
from hw.attention.transposer import Transposer
from hw.memory.fifo import Fifo
from hw.memory.queue import Queue
from hw.memory.staging import staging_read
from hw.signatures import (
    Command,
    Raise,
    Take,
    act_write,
    array_command,
    beat,
    kv_part,
    scores,
)


__all__ = ["AttentionEngine"]


#: Parts that wait: the router runs ahead of the products by what transposer and unpacker hold.
PARTS = 4

#: Beats of keys that wait where memory is as fast as the array. Values come a tile, of 32 beats,
#: before the array takes them; so the keys behind them must come while it does.
KEYS = 64


class AttentionEngine(wiring.Component):
    """Takes the commands of the matrix unit; makes of ``attend`` two products for each KV block.

    The numerical reference, with the array, is :func:`verif.reference.attention.attention`. ::

        commands -> front -> array            scores -> softmax -> act, sums
           parts ----^                           |         ^
        d -> forwarder -> router -> keys         '---------|-----> bounds_scores
                ^            |--> codes of values ---------'
             staged          '--> transposer -> values

    A head without tokens takes its counters and ends; it delivers nothing.

    Latency
    -------
    0 for ``matmul``.

    Throughput
    ----------
    A KV block takes its beats on ``d``, the beats of both products, or the time of the softmax,
    whichever is longest, if keys are ``config.keys_ahead`` blocks ahead. ``commands.ready`` depends
    combinationally on ``array.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
        ``matmul``, ``attend`` and ``select``. The latter are taken when their queries are there.
    array : ``Out(stream.Signature(array_command(config)))``
    parts : ``In(stream.Signature(kv_part))``
        What comes on ``d``, in the order of the beats.
    d : ``In(stream.Signature(8 * config.beat_bytes))``
        The KV blocks of each ``attend``, and the blocks of bounds of each ``select``.
    flush : ``In(1)``
        Forget ``parts``; what was offered on ``d`` is withdrawn. No ``attend`` may be under way.
    staged : ``Out(staging_read(config))``, only if ``config.forward``
        The staging memory, which has the newest token of walks with ``forward``.
    keys : ``Out(stream.Signature(8 * config.beat_bytes))``
        To the array's unpacker.
    values : ``Out(stream.Signature(beat(config)))``
    scores : ``In(stream.Signature(scores(config)))``
    act : ``Out(stream.Signature(act_write(config)))``
        Probabilities, with the shifts of what was accumulated before.
    sums : ``Out(stream.Signature(32))``
        ``l`` of each column, for each ``attend``.
    bounds : ``Out(stream.Signature(select_job(config)))``, only if ``config.pages``
        A job for each block of bounds, before its scores; one without scores if there are no pages.
    bounds_scores : ``Out(stream.Signature(scores(config)))``, only if ``config.pages``
    take0 : ``Take``
        Query blocks of ``attend`` and ``select``.
    raise1 : ``Raise``
        Once for each of them, when queries are no longer needed.
    array_busy : ``In(1)``
    busy : ``Out(1)``
        A command is under way, here or in the array.
    """

    def __init__(self, config):
        self.config = config
        raw = stream.Signature(8 * config.beat_bytes)
        selects = {
            "bounds":        Out(stream.Signature(select_job(config))),
            "bounds_scores": Out(stream.Signature(scores(config))),
        }
        super().__init__({
            "commands":   In(stream.Signature(Command)),
            "array":      Out(stream.Signature(array_command(config))),
            "parts":      In(stream.Signature(kv_part)),
            "d":          In(raw),
            "flush":      In(1),
            "keys":       Out(raw),
            "values":     Out(stream.Signature(beat(config))),
            "scores":     In(stream.Signature(scores(config))),
            "act":        Out(stream.Signature(act_write(config))),
            "sums":       Out(stream.Signature(32)),
            **(selects if config.pages else {}),
            **({"staged": Out(staging_read(config))} if config.forward else {}),
            "take0":      Out(Take),
            "raise1":     Out(Raise),
            "array_busy": In(1),
            "busy":       Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        flushed = ResetInserter(self.flush)
        m.submodules.front      = front      = Front(config)
        m.submodules.router     = router     = flushed(Router(config))
        m.submodules.transposer = transposer = flushed(Transposer(config))
        m.submodules.softmax    = softmax    = flushed(Softmax(config))

        # Commands.
        wiring.connect(m, wiring.flipped(self.commands), front.commands)
        wiring.connect(m, front.array, wiring.flipped(self.array))
        wiring.connect(m, front.take0, wiring.flipped(self.take0))
        wiring.connect(m, front.raise1, wiring.flipped(self.raise1))
        m.d.comb += [
            front.done.eq(softmax.done), front.array_busy.eq(self.array_busy),
            self.busy.eq(front.busy | self.array_busy),
        ]

        # Parts go to those who deal their beats, and to those who make products of them.
        m.submodules.dealt   = dealt   = flushed(Queue(kv_part, PARTS))
        m.submodules.ordered = ordered = flushed(Queue(kv_part, PARTS))
        m.d.comb += [
            self.parts.ready.eq(dealt.i.ready & ordered.i.ready),
            dealt.i.payload.eq(self.parts.p), ordered.i.payload.eq(self.parts.p),
            dealt.i.valid.eq(self.parts.valid & self.parts.ready),
            ordered.i.valid.eq(self.parts.valid & self.parts.ready),
        ]
        wiring.connect(m, dealt.o, router.parts)
        wiring.connect(m, ordered.o, front.parts)

        # The softmax holds jobs and codes of some blocks: with these they do not hold keys up.
        for name, shape, source, target in (
                ("blocks", softmax_job(config), front.blocks, softmax.jobs),
                ("codes", 8 * BLOCK, router.codes, softmax.v_scales),
                ("turns", turn_job, front.turns, transposer.jobs)):
            m.submodules[f"{name}_queue"] = queue = flushed(Queue(shape, 2))
            wiring.connect(m, source, queue.i)
            wiring.connect(m, queue.o, target)

        # Keys and values.
        if config.forward:
            m.submodules.forwarder = forwarder = flushed(Forwarder(config))
            wiring.connect(m, wiring.flipped(self.d), forwarder.i)
            wiring.connect(m, forwarder.o, router.d)
            wiring.connect(m, front.forwards, forwarder.jobs)
            wiring.connect(m, forwarder.staged, wiring.flipped(self.staged))
            m.d.comb += [forwarder.dealing.eq(router.dealing), forwarder.fetch.eq(router.fetch)]
        else:
            wiring.connect(m, wiring.flipped(self.d), router.d)
        if config.packs:
            m.submodules.keys_fifo = fifo = Fifo(8 * config.beat_bytes, KEYS)
            wiring.connect(m, router.keys, fifo.i)
            wiring.connect(m, fifo.o, wiring.flipped(self.keys))
            m.d.comb += fifo.flush.eq(self.flush)
        else:
            wiring.connect(m, router.keys, wiring.flipped(self.keys))
        wiring.connect(m, router.values, transposer.i)
        wiring.connect(m, transposer.o, wiring.flipped(self.values))

        # Scores and probabilities.
        m.d.comb += [
            softmax.scores.payload.eq(self.scores.payload),
            softmax.scores.valid.eq(self.scores.valid), self.scores.ready.eq(softmax.scores.ready),
        ]
        wiring.connect(m, softmax.sums, wiring.flipped(self.sums))
        wiring.connect(m, softmax.act, wiring.flipped(self.act))

        # Scores of bounds go to the selector.
        if config.pages:
            wiring.connect(m, front.bounds, wiring.flipped(self.bounds))
            bounds = self.scores.p.bounds
            m.d.comb += [
                self.bounds_scores.payload.eq(self.scores.payload),
                self.bounds_scores.valid.eq(self.scores.valid & bounds),
                softmax.scores.valid.eq(self.scores.valid & ~bounds),
                self.scores.ready.eq(Mux(bounds, self.bounds_scores.ready, softmax.scores.ready)),
            ]
        return m
