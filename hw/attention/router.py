"""Deals the D stream to those who take keys, codes of values, and values."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.geometry import BLOCK, dealing, value_row
from hw.attention.unfold import Unfold
from hw.memory.sizes import sizes
from hw.signatures import Part, kv_part


__all__ = ["Router"]


#: Beats of a section of packed keys: one of scales, and a piece for each of them.
SECTION = 17


class Router(wiring.Component):
    """Deals the beats of parts of KV blocks: keys and codes of values, values, or bounds.

    The order within a block is that of :func:`verif.reference.kv.kv_read`. Bounds go where keys go.
    Behind the router all keys and values are bytes: beats of packed ones become two, but those of
    the keys' scales, the first of each 17, do not.

    Latency
    -------
    0: beats of keys and values pass in the cycle in which they come. The codes of a block are
    valid in the cycle after their last beat.

    Throughput
    ----------
    One beat of bytes per cycle, without a gap between parts. The router runs ahead of its takers as
    far as they let it: codes wait in a register until they are taken. ``d.ready`` depends
    combinationally on the ``ready`` of ``keys`` and ``values``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    parts : ``In(stream.Signature(kv_part))``
        In the order of their beats.
    d : ``In(stream.Signature(8 * config.beat_bytes))``
        Beats as memory holds them.
    keys : ``Out(stream.Signature(8 * config.beat_bytes))``
    codes : ``Out(stream.Signature(256))``
        E8M0 codes of the values of the 32 tokens of a block.
    values : ``Out(stream.Signature(value_row(config)))``
    dealing : ``Out(dealing(config))``, only if ``config.forward``
        Part and number of the beat at ``d``.
    fetch : ``Out(1)``, only if ``config.forward``
        The part ends, or there is none.
    """

    def __init__(self, config):
        self.config = config
        beat = stream.Signature(8 * config.beat_bytes)
        super().__init__({
            "parts":  In(stream.Signature(kv_part)),
            "d":      In(beat),
            "keys":   Out(beat),
            "codes":  Out(stream.Signature(8 * BLOCK)),
            "values": Out(stream.Signature(value_row(config))),
            **({"dealing": Out(dealing(config)), "fetch": Out(1)} if config.forward else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config, part = self.config, self.parts.p

        # Control: whose beats come, and how many after this one.
        lengths = {
            Part.KEYS:   config.key_beats,
            Part.VALUES: config.value_beats,
            Part.BOUNDS: lambda blocks, packed: config.key_beats(2 * blocks, packed),
        }
        if not config.pages:
            del lengths[Part.BOUNDS]
        lengths = {kind: sizes(m, config, part, f"{kind.name.lower()}_length", function)
                   for kind, function in lengths.items()}
        left    = Signal(max(map(len, lengths.values())))
        has_codes, to_keys, to_codes, to_values = Signal(), Signal(), Signal(), Signal()
        moved, ends, fetch = Signal(), Signal(), Signal()
        packed = Signal()
        beats, final, last_row = self.unfolded(m, packed, to_keys, to_values, moved, fetch, left)
        m.d.comb += [
            self.keys.valid.eq(to_keys & beats.valid),
            self.values.valid.eq(to_values & beats.valid),
            beats.ready.eq((to_keys & self.keys.ready) | (to_values & self.values.ready)
                           | (to_codes & ~self.codes.valid)),
            moved.eq(beats.valid & beats.ready & final),
            ends.eq(moved & (left == 0)),
            fetch.eq(~(to_keys | to_codes | to_values) | (ends & ~has_codes)),
            self.parts.ready.eq(fetch),
        ]
        with m.If(moved):
            m.d.sync += left.eq(left - 1)
        with m.If(ends & has_codes):
            m.d.sync += [to_keys.eq(0), to_codes.eq(1), has_codes.eq(0),
                         left.eq(config.value_scale_beats - 1)]
        with m.If(fetch):
            m.d.sync += [
                to_keys.eq(self.parts.valid & (part.kind != Part.VALUES)),
                to_values.eq(self.parts.valid & (part.kind == Part.VALUES)),
                to_codes.eq(0), has_codes.eq(part.kind == Part.KEYS), packed.eq(part.packed),
            ]
            with m.Switch(part.kind):
                for kind, length in lengths.items():
                    with m.Case(kind):
                        m.d.sync += left.eq(length - 1)

        if config.forward:
            self.tell(m, fetch, to_values)

        # Codes: the last beat completes the register.
        with m.If(to_codes & moved):
            m.d.sync += self.codes.payload.eq(Cat(self.codes.payload, self.d.payload)[-8 * BLOCK:]
                                              if config.value_scale_beats > 1 else self.d.payload)
            m.d.sync += self.codes.valid.eq(left == 0)
        with m.Elif(self.codes.ready):
            m.d.sync += self.codes.valid.eq(0)

        # Keys and values are what comes.
        m.d.comb += [
            self.keys.payload.eq(beats.payload),
            Value.cast(self.values.p.data).eq(beats.payload),
            self.values.p.last.eq(last_row),
        ]
        return m

    def tell(self, m, fetch, to_values):
        """Which part is dealt, and which of its beats."""
        forward, beat = Signal(), Signal.like(self.dealing.beat)
        m.d.comb += [
            self.dealing.forward.eq(forward), self.dealing.values.eq(to_values),
            self.dealing.beat.eq(beat), self.fetch.eq(fetch),
        ]
        with m.If(self.d.valid & self.d.ready):
            m.d.sync += beat.eq(beat + 1)
        with m.If(fetch):
            m.d.sync += [beat.eq(0), forward.eq(self.parts.valid & self.parts.p.forward)]

    def unfolded(self, m, packed, to_keys, to_values, moved, fetch, left):
        """Beats of bytes; whether one is the last of a beat of ``d``, and of a group of values."""
        # A group has 32 rows, or is the only one and has fewer.
        last = left[:exact_log2(BLOCK)] == 0
        if not self.config.packs:
            return self.d, Const(1), last
        section = Signal(range(SECTION))        # beat in it; the first one has the scales
        with m.If(to_keys & moved):
            m.d.sync += section.eq(Mux(section == SECTION - 1, 0, section + 1))
        with m.If(fetch):
            m.d.sync += section.eq(0)
        m.submodules.unfold = unfold = Unfold(self.config)
        wiring.connect(m, wiring.flipped(self.d), unfold.i)
        m.d.comb += unfold.packed.eq(packed & (to_values | (to_keys & (section != 0))))
        last_packed = (left[:exact_log2(BLOCK // 2)] == 0) & unfold.final
        return unfold.o, unfold.final, Mux(packed, last_packed, last)
