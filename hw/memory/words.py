"""The words that a head's staged keys, or values, are in memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from ..geometry import BLOCK
from .place import Place, beat_bits
from .sizes import sizes
from .staging import staging_block


__all__ = ["staged_run", "staged_word", "Words"]


def staged_run(config):
    """Blocks that follow each other in the staging memory: keys, or values, of one token and head.

    Of values the code is that of the first block, for all of them.
    """
    return data.StructLayout({
        "index":       ceil_log2(config.kv_staging),    # of the first block
        "head_blocks": 5, "packed": 1,
        "token":       5,                               # in its KV block
        "values":      1,
        "codes":       1, "elements": 1,                # what is wanted of them; of keys both
        "bounds":      1,                               # keys of twice the head
        "apart":       1,                               # values are counted from their first beat
    })


def staged_word(config):
    """A word of a KV block, of which some bytes are known."""
    return data.StructLayout({
        "offset": beat_bits(config) + exact_log2(config.beat_bytes),    # byte in the KV block
        "data": config.word_bits, "strobe": config.word_bytes,
    })


class Words(wiring.Component):
    """Gives the words of staged blocks in the order of their beats.

    Keys lie in sections, whose codes come before their elements: blocks of a section are read
    twice. The layout is that of :func:`verif.reference.kv.kv_write`.

    Latency
    -------
    One cycle from a run to its first word.

    Throughput
    ----------
    One cycle for each word, and for each of a value block's words that has none of its bytes;
    one more for each run. The next block is read while one is given.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    bounds : bool
        Whether there are runs of bounds.

    Members
    -------
    i : ``In(stream.Signature(staged_run(config)))``
        Constant until it is taken, with its last word.
    staging : ``In(staging_block)``
        The block at ``index``, a cycle after ``read``.
    read, index : ``Out(1)``, ``Out``
    o : ``Out(stream.Signature(staged_word(config)))``
        ``offset`` is any byte of the word.
    used : ``Out(1)``
        Elements of another block have been given.
    """

    def __init__(self, config, bounds):
        self.config, self.bounds = config, bounds
        super().__init__({
            "i": In(stream.Signature(staged_run(config))),
            "staging": In(staging_block),
            "read": Out(1), "index": Out(ceil_log2(config.kv_staging)),
            "o": Out(stream.Signature(staged_word(config))), "used": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, run = self.config, self.i.p
        m.submodules.place = place = Place(config)
        bounds = run.bounds if self.bounds else Const(0)
        packed = run.packed & config.packs

        # Control: a block's code, or its elements, until the last block of the run.
        active, coding = Signal(), Signal()
        block, first = Signal(5), Signal(5)                 # of the run; of the section
        member, step = Signal.like(place.member), Signal.like(place.step)
        blocks, following = Signal(5), Signal(5)
        wanted, moved, last_block, last_member = (Signal(name=name) for name in (
            "wanted", "moved", "last_block", "last_member"))
        coded, ended = Signal(), Signal()                   # all codes; elements of a block
        members = Mux(run.values, max(config.slices // 2, 1), place.group)
        m.d.comb += [
            blocks.eq(run.head_blocks << bounds),
            last_block.eq(block + 1 == blocks), last_member.eq(member + 1 == members),
            moved.eq(active & (self.o.ready | ~wanted)),
            coded.eq(moved & coding & (run.values | last_member | last_block)),
            ended.eq(moved & ~coding & place.last), self.used.eq(ended),
            self.i.ready.eq((ended & last_block) | (coded & ~run.elements)),
            following.eq(Mux(coded, first, Mux(active, block + 1, 0))),
            self.index.eq(run.index + following),
            self.read.eq(Mux(active, (moved & coding) | ended, self.i.valid)),
        ]
        with m.If(~active):
            m.d.sync += [active.eq(self.i.valid), block.eq(0), first.eq(0), step.eq(0),
                         coding.eq(run.codes)]
        with m.If(self.i.ready):
            m.d.sync += active.eq(0)
        with m.If(moved & ~coding):
            m.d.sync += step.eq(step + 1)
        with m.If(self.read & active):
            m.d.sync += block.eq(following)
        with m.If(coded):
            m.d.sync += coding.eq(0)
        with m.If(ended):
            m.d.sync += step.eq(0)
            with m.If(last_member & ~run.values):
                m.d.sync += [coding.eq(1), first.eq(following)]

        # Beats: where the run's first block lies, and then from block to block.
        data_beat, code_beat = Signal.like(place.data_beat), Signal.like(place.code_beat)
        starts, rows, group, shared = self.beats(m, run, bounds, packed)
        with m.If(~active):
            m.d.sync += [member.eq(Mux(run.values, shared, 0)),
                         code_beat.eq(starts[0]), data_beat.eq(starts[1])]
        with m.If(active & ~run.values & self.read):
            m.d.sync += member.eq(member + 1)
            with m.If(coded):
                m.d.sync += member.eq(0)
            with m.If(ended):
                m.d.sync += data_beat.eq(data_beat + rows)
                with m.If(last_member):
                    m.d.sync += [member.eq(0), code_beat.eq(data_beat + rows),
                                 data_beat.eq(data_beat + rows + 1)]
        with m.If(ended & run.values):
            m.d.sync += member.eq(member + 1)
            with m.If(last_member):
                m.d.sync += [member.eq(0), data_beat.eq(data_beat + group)]

        # Words. Some have no byte of this block.
        m.d.comb += [
            place.block.eq(self.staging), place.values.eq(run.values), place.token.eq(run.token),
            place.packed.eq(packed), place.data_beat.eq(data_beat), place.code_beat.eq(code_beat),
            place.member.eq(member), place.step.eq(step), place.code.eq(coding),
            wanted.eq(place.strobe.any()),
            self.o.p.offset.eq(place.offset), self.o.p.data.eq(place.data),
            self.o.p.strobe.eq(place.strobe), self.o.valid.eq(active & wanted),
        ]
        return m

    def beats(self, m, run, bounds, packed):
        """Beats of the first codes and of the first elements; rows of a block of keys; beats of a
        group of values; and which of the blocks that share a beat of values comes first."""
        config, token = self.config, run.token
        key_beats = sizes(m, config, run, "key_beats", config.key_beats)
        if self.bounds:
            twice = sizes(m, config, run, "bounds_key_beats",
                          lambda n, packed: config.key_beats(2 * n, packed))
            key_beats = Mux(bounds, twice, key_beats)
        pitch = sizes(m, config, run, "pitch", lambda n, _: config.value_pitch(n))

        # With one slice the second half of the tokens is a tile of its own.
        first_beat = Mux(token[4], key_beats >> 1, 0) if config.key_tiles == 2 else Const(0)
        # Tokens of small heads share a beat: those of a half at a distance of `pitch`. Two rows
        # share one if they are packed.
        half, inside, above = Signal(5), Signal(4), Signal(4)
        m.d.comb += [
            half.eq(Mux(token[4], pitch, 0)), inside.eq(token & (pitch - 1)),
            above.eq(token[:4] & ~(pitch - 1)),
        ]
        row = (half | inside) >> packed
        values = Mux(run.apart, 0, key_beats + config.value_scale_beats)
        tiles = 2 if config.slices == 1 else 1
        starts = (Mux(run.values, key_beats, first_beat),
                  Mux(run.values, values + row, first_beat + 1))
        rows = Mux(packed, config.key_height, 2 * config.key_height)
        group = Mux(packed, tiles * BLOCK // 2, tiles * BLOCK)
        return starts, rows, group, above << exact_log2(config.slices) >> exact_log2(BLOCK)
