"""Puts the newest token into the keys and values that were read before it was in memory."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.geometry import dealing, forward_job
from hw.memory.place import beat_bits
from hw.memory.queue import Queue
from hw.memory.sizes import product
from hw.memory.staging import staging_read
from hw.memory.words import Words


__all__ = ["Forwarder"]


#: Heads of which something is left to be replaced, at most.
HEADS = 4


class Forwarder(wiring.Component):
    """Replaces bytes of the newest token by those of the staging memory. ::

        jobs -> keys, values -> Words -> image
                                           v
                                   i ----->+-> o -> router

    ``append`` writes the token to memory meanwhile: of its bytes, what comes may be old, new, or a
    mixture. The router says which part it deals. A part with ``forward`` waits until the ``attend``
    that it belongs to is open: its queries were rounded behind its keys and values, which are then
    staged. They are read from the staging memory in the order of their beats, and an image of one
    beat is collected ahead.

    The reference is :func:`verif.reference.kv.kv_write`, on what is read.

    Latency
    -------
    0; a beat of a part with ``forward`` waits up to 4 cycles for its image, and for each of the
    image's words.

    Throughput
    ----------
    One beat each cycle, but behind one that was changed two cycles and one for each word.
    ``i.ready`` depends combinationally on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs : ``In(stream.Signature(forward_job))``
        Of each ``attend`` that is open and whose walk has ``forward``, in order.
    i, o : ``In(stream.Signature(8 * config.beat_bytes))``, ``Out(..)``
    dealing : ``In(dealing(config))``
        Part and number of the beat at ``o``.
    fetch : ``In(1)``
        The part ends.
    staged : ``Out(staging_read(config))``
    """

    def __init__(self, config):
        self.config = config
        beat = stream.Signature(8 * config.beat_bytes)
        super().__init__({
            "jobs": In(stream.Signature(forward_job)), "i": In(beat), "o": Out(beat),
            "dealing": In(dealing(config)), "fetch": In(1), "staged": Out(staging_read(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, part = self.config, self.dealing
        m.submodules.words  = words  = Words(config, bounds=False)
        m.submodules.keys   = keys   = Queue(forward_job, HEADS)
        m.submodules.values = values = Queue(forward_job, HEADS)
        m.d.comb += [
            self.jobs.ready.eq(keys.i.ready & values.i.ready),
            *(queue.i.payload.eq(self.jobs.p) for queue in (keys, values)),
            *(queue.i.valid.eq(self.jobs.valid & self.jobs.ready) for queue in (keys, values)),
        ]

        # Control: keys and the code of the values, or values; then the rest of the part passes.
        job, begins = Signal(forward_job), Signal()
        elements, code, collected = Signal(), Signal(), Signal()
        m.d.comb += [
            job.eq(Mux(part.values, values.o.p, keys.o.p)),
            begins.eq(part.forward & Mux(part.values, values.o.valid, keys.o.valid)),
            keys.o.ready.eq(self.fetch & part.forward & ~part.values),
            values.o.ready.eq(self.fetch & part.forward & part.values),
        ]
        with m.FSM():
            with m.State("REST"):
                with m.If(begins):
                    m.next = "ELEMENTS"
            with m.State("ELEMENTS"):
                m.d.comb += elements.eq(1)
                with m.If(words.i.ready):
                    m.next = "CODE"
                    with m.If(part.values):
                        m.next = "COLLECTED"
            with m.State("CODE"):
                m.d.comb += code.eq(1)
                with m.If(words.i.ready):
                    m.next = "COLLECTED"
            with m.State("COLLECTED"):
                m.d.comb += collected.eq(1)
                with m.If(self.fetch):
                    m.next = "REST"

        # Runs of staged blocks.
        run, of_values = words.i.p, Signal()
        at_keys, behind = Signal.like(run.index), Signal.like(run.index)

        m.d.sync += [at_keys.eq(product(job.head, job.head_blocks)),
                     behind.eq(product(job.heads, job.head_blocks))]
        m.d.comb += [
            of_values.eq(part.values | code), words.i.valid.eq(elements | code),
            run.index.eq(at_keys + Mux(of_values, behind, 0)), run.values.eq(of_values),
            run.codes.eq(~part.values), run.elements.eq(elements),
            run.head_blocks.eq(job.head_blocks), run.packed.eq(job.packed),
            run.token.eq(job.token), run.bounds.eq(0), run.apart.eq(1),
            self.staged.en.eq(words.read), self.staged.address.eq(words.index),
            words.staging.eq(self.staged.data),
        ]

        # Image of one beat: its number, and bytes that replace others.
        number, filled = Signal(beat_bits(config)), Signal()
        taken, whole, meets, used, same = (Signal(name=name) for name in (
            "taken", "whole", "meets", "used", "same"))
        item, word, beat = words.o.p, exact_log2(config.word_bytes), exact_log2(config.beat_bytes)
        place = item.offset[word:beat]
        m.d.comb += [
            same.eq(item.offset[beat:] == number),
            words.o.ready.eq(~filled | same), taken.eq(words.o.valid & words.o.ready),
            whole.eq(collected | (words.o.valid & ~same)),
            meets.eq(filled & (number == part.beat)),
            used.eq(part.forward & meets & self.o.valid & self.o.ready),
        ]
        with m.If(used):
            m.d.sync += filled.eq(0)
        with m.If(taken):
            m.d.sync += [filled.eq(1), number.eq(item.offset[beat:])]
        changed = []
        for n in range(config.beat_bytes):
            value, replaces = Signal(8, name=f"value_{n}"), Signal(name=f"replaces_{n}")
            word_of, lane = divmod(n, config.word_bytes)
            with m.If(used):
                m.d.sync += replaces.eq(0)
            with m.If(taken & (place == word_of) & item.strobe[lane]):
                m.d.sync += [value.eq(item.data[8 * lane:8 * lane + 8]), replaces.eq(1)]
            changed.append(Mux(replaces & meets & part.forward, value,
                               self.i.payload[8 * n:8 * n + 8]))

        # Beats.
        passes = Signal()
        m.d.comb += [
            passes.eq(~part.forward | Mux(filled, ~meets | whole, collected)),
            self.o.valid.eq(self.i.valid & passes), self.i.ready.eq(self.o.ready & passes),
            self.o.payload.eq(Cat(changed)),
        ]
        return m
