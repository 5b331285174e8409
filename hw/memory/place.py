"""Where the bytes of a staged block belong in a KV block."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from ..geometry import BLOCK
from .choose import choose
from .staging import staging_block


__all__ = ["beat_bits", "Place"]


def beat_bits(config):
    """Bits of the number of a beat in a KV block, or in a block of bounds: these have keys of twice
    the head, but no values."""
    most = config.max_head_blocks
    return bits_for(max(config.kv_beats(most), config.key_beats(2 * most)))


class Place(wiring.Component):
    """The words that a staged block of keys or values becomes: its code, or one for each ``step``.

    Keys are two pieces of 16 bytes in the token's slice, two consecutive beats, and a code among
    the scales. Values are a part of one beat (with one slice, two beats), dealt out to all slices,
    and a code among the value scales. Of packed elements the upper halves are written: two pieces
    that follow each other become one, the second behind the first. Combinational.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    block : ``In(staging_block)``
    values : ``In(1)``
        The block is one of values.
    packed : ``In(1)``
        Elements have 4 bits.
    token : ``In(5)``
        Number of the token in its KV block.
    data_beat : ``In``
        Keys: first beat of the tile's rows for this block. Values: beat that holds the token.
    code_beat : ``In``
        Beat of the scales.
    member : ``In``
        Number of the block among those that share a beat of scales (keys) or of data (values).
    code : ``In(1)``
        The word is that of the code.
    step : ``In``
        Else which of the others.
    last : ``Out(1)``
        It is the last one.
    offset : ``Out``
        Byte in the KV block.
    data, strobe : ``Out``
        The word that contains ``offset``.
    """

    def __init__(self, config):
        self.config = config
        self.piece_words = max(1, 16 // config.word_bytes)
        self.value_words = config.beat_words * (2 if config.slices == 1 else 1)
        self.group = config.scale_group(config.key_height, 1)
        beats = beat_bits(config)
        super().__init__({
            "block": In(staging_block), "values": In(1), "packed": In(1), "token": In(5),
            "data_beat": In(beats), "code_beat": In(beats),
            "member": In(range(max(self.group, config.slices // 2, 2))),
            "code": In(1), "step": In(range(max(2 * self.piece_words, self.value_words))),
            "last": Out(1),
            "offset": Out(beats + exact_log2(config.beat_bytes)),
            "data": Out(config.word_bits), "strobe": Out(config.word_bytes),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        word, beat = exact_log2(config.word_bytes), exact_log2(config.beat_bytes)
        height = exact_log2(config.key_height)

        # The token is row i of slice s of its tile of keys.
        s = self.token[:exact_log2(config.slices)]
        i = self.token[exact_log2(config.slices):][:height]
        code_offset = Signal.like(self.offset)
        part_bits = exact_log2(self.piece_words)
        packed = self.packed & config.packs
        words = Mux(self.values, self.value_words,
                    Mux(packed, self.piece_words, 2 * self.piece_words))
        m.d.comb += [
            self.last.eq(self.step + 1 == words),
            code_offset.eq((self.code_beat << beat)
                           + Mux(self.values, self.token, (s << 4) + (self.member << height) + i)),
        ]

        # Keys: half h is in beat 2 i + h, or both in beat i; words smaller than a piece take
        # several steps.
        part, h = self.step[:part_bits], self.step[part_bits]
        piece, lane = Signal(128), Signal(4)
        key_offset, row = Signal.like(self.offset), Signal(5)
        elements = [Value.cast(element) for element in self.block.data]
        m.d.comb += [
            piece.eq(Mux(packed, upper_halves(elements), Cat(elements).word_select(h, 128))),
            row.eq(Mux(packed, i, (i << 1) + h)),
            key_offset.eq(((self.data_beat + row) << beat) + (s << 4) + (part << word)),
        ]
        if word >= 4:
            m.d.comb += lane.eq(key_offset[4:word])
            key_data = piece.replicate(config.word_bytes // 16)
            key_strobe = Const(0xFFFF, 16) << (lane << 4)
        else:
            key_data = piece.word_select(part, config.word_bits)
            key_strobe = Const(-1, config.word_bytes)

        # Values: channel i S + s of a beat is byte i of slice s.
        value_data, value_strobe = self._value_image(m)
        value_step = self.step[:exact_log2(self.value_words)]
        value_data = choose(m, value_data, value_step, config.word_bits, "value_data")
        value_strobe = choose(m, value_strobe, value_step, config.word_bytes, "value_strobe")
        value_beat, value_word = Signal.like(self.data_beat), value_step[:beat - word]
        m.d.comb += value_beat.eq(self.data_beat)
        if config.slices == 1:
            m.d.comb += value_beat.eq(self.data_beat + Mux(packed, value_step[-1] << 4,
                                                           value_step[-1] << 5))

        with m.If(self.code):
            m.d.comb += [
                self.offset.eq(code_offset),
                self.data.eq(self.block.code.replicate(config.word_bytes)),
                self.strobe.eq(Const(1) << code_offset[:word]),
            ]
        with m.Elif(self.values):
            m.d.comb += [
                self.offset.eq((value_beat << beat) + (value_word << word)),
                self.data.eq(value_data),
                self.strobe.eq(value_strobe),
            ]
        with m.Else():
            m.d.comb += [self.offset.eq(key_offset), self.data.eq(key_data),
                         self.strobe.eq(key_strobe)]
        return m

    def _value_image(self, m):
        """Bytes of the beat, and which of them this block provides."""
        slices = self.config.slices
        beats  = 2 if slices == 1 else 1
        pieces = [[16 * beat + i * slices + s for i in range(16)]
                  for beat in range(beats) for s in range(slices)]
        provided = Signal(max(1, slices // 2))
        m.d.comb += provided.eq(1 << self.member[:exact_log2(max(1, slices // 2))])

        def elements(channels):
            return [Value.cast(self.block.data[channel % BLOCK]) for channel in channels]

        def strobes(channels):
            return Cat(provided[channel // BLOCK % len(provided)] for channel in channels)

        image  = Cat(Cat(elements(piece)) for piece in pieces)
        strobe = Cat(strobes(piece) for piece in pieces)
        if not self.config.packs:
            return image, strobe
        # Rows of two consecutive tokens share a beat; a piece has eight bytes of each.
        odd = self.token[0]
        packed_image  = Cat(upper_halves(elements(piece)).replicate(2) for piece in pieces)
        packed_strobe = Cat(Cat(strobes(piece[::2]) & (~odd).replicate(8),
                                strobes(piece[::2]) & odd.replicate(8)) for piece in pieces)
        return (Mux(self.packed, packed_image, image), Mux(self.packed, packed_strobe, strobe))


def upper_halves(elements):
    """Upper halves of bytes, two in a byte, the first one below."""
    return Cat(element[4:8] for element in elements)
