"""Attention on the array: what stands before the matrix engine and beside it."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.front import Front
from hw.attention.geometry import softmax_job
from hw.attention.router import Router
from hw.attention.softmax import Softmax
from hw.attention.transposer import Transposer
from hw.memory.queue import Queue
from hw.signatures import Command, Raise, Take, act_write, array_command, beat, scores


__all__ = ["AttentionEngine"]


class AttentionEngine(wiring.Component):
    """Takes the commands of the matrix unit; makes of ``attend`` two products for each KV block.

    The numerical reference, with the array, is :func:`verif.reference.attention.attention`. ::

        commands -> front -> array              scores -> softmax -> act, sums
                                                             ^
        d -> router -> keys                                  |
                  |--> codes of values ----------------------'
                  '--> transposer -> values

    A head without tokens takes its counters and ends; it delivers nothing.

    Latency
    -------
    0 for ``matmul``.

    Throughput
    ----------
    A KV block takes the beats of both products, or the time of the softmax, whichever is longer:
    ``32 / softmax_lanes`` cycles for each column, :func:`hw.attention.softmax.softmax_latency`, and
    as many cycles for the columns but the last. ``commands.ready`` depends combinationally on
    ``array.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(Command))``
        ``matmul`` and ``attend``. An ``attend`` is taken when its last product is on its way.
    array : ``Out(stream.Signature(array_command(config)))``
    d : ``In(stream.Signature(8 * config.beat_bytes))``
        The KV blocks of each ``attend``.
    keys : ``Out(stream.Signature(8 * config.beat_bytes))``
        To the array's unpacker.
    values : ``Out(stream.Signature(beat(config)))``
    scores : ``In(stream.Signature(scores(config)))``
    act : ``Out(stream.Signature(act_write(config)))``
        Probabilities, with the shifts of what was accumulated before.
    sums : ``Out(stream.Signature(32))``
        ``l`` of each column, for each ``attend``.
    take0 : ``Take``
        Query blocks of ``attend``.
    raise1 : ``Raise``
        Once for each ``attend``, when queries are no longer needed.
    array_busy : ``In(1)``
    busy : ``Out(1)``
        A command is under way, here or in the array.
    """

    def __init__(self, config):
        self.config = config
        raw = stream.Signature(8 * config.beat_bytes)
        super().__init__({
            "commands":   In(stream.Signature(Command)),
            "array":      Out(stream.Signature(array_command(config))),
            "d":          In(raw),
            "keys":       Out(raw),
            "values":     Out(stream.Signature(beat(config))),
            "scores":     In(stream.Signature(scores(config))),
            "act":        Out(stream.Signature(act_write(config))),
            "sums":       Out(stream.Signature(32)),
            "take0":      Out(Take),
            "raise1":     Out(Raise),
            "array_busy": In(1),
            "busy":       Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.front      = front      = Front(self.config)
        m.submodules.router     = router     = Router(self.config)
        m.submodules.transposer = transposer = Transposer(self.config)
        m.submodules.softmax    = softmax    = Softmax(self.config)

        # Commands.
        wiring.connect(m, wiring.flipped(self.commands), front.commands)
        wiring.connect(m, front.array, wiring.flipped(self.array))
        wiring.connect(m, front.heads, router.jobs)
        # The queue cuts the path from the count of tokens to what a job starts.
        m.submodules.blocks = blocks = Queue(softmax_job(self.config), 2)
        wiring.connect(m, front.blocks, blocks.i)
        wiring.connect(m, blocks.o, softmax.jobs)
        wiring.connect(m, front.take0, wiring.flipped(self.take0))
        wiring.connect(m, front.raise1, wiring.flipped(self.raise1))
        m.d.comb += [
            front.weighed.eq(softmax.done),
            front.value_beat.eq(self.values.valid & self.values.ready),
            self.busy.eq(self.commands.valid | self.array_busy),
        ]

        # Keys and values.
        wiring.connect(m, wiring.flipped(self.d), router.d)
        wiring.connect(m, router.keys, wiring.flipped(self.keys))
        wiring.connect(m, router.codes, softmax.v_scales)
        wiring.connect(m, router.values, transposer.i)
        wiring.connect(m, transposer.o, wiring.flipped(self.values))

        # Scores and probabilities.
        wiring.connect(m, wiring.flipped(self.scores), softmax.scores)
        wiring.connect(m, softmax.sums, wiring.flipped(self.sums))
        m.d.comb += [
            self.act.payload.eq(softmax.act.payload),
            self.act.valid.eq(softmax.act.valid & ~front.hold),
            softmax.act.ready.eq(self.act.ready & ~front.hold),
        ]
        return m
