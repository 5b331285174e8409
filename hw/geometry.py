"""What follows from a configuration: sizes of everything that several blocks must agree on."""

from math import gcd

from .formats import ACTIVATIONS, FORMATS, KV, PROBABILITIES, ScaleKind, expanded, supported


__all__ = ["BLOCK", "PRODUCT_CYCLES", "SOFTMAX_CYCLES", "SUM_CYCLES", "Geometry"]


#: Tokens in a KV block, and elements that share a scale.
BLOCK = 32

#: Cycles, at most, from a beat to its sum in the bank of the first column; from the last scores of
#: a vector to its first probabilities, if all come at once; and from the last probabilities of a
#: block to the first beat of its values.
SUM_CYCLES, SOFTMAX_CYCLES, PRODUCT_CYCLES = 20, 40, 8


class Geometry:
    """Numbers that follow from the keys of :class:`hw.config.Config`, which inherits them."""

    # Memory

    @property
    def word_bytes(self):
        """Bytes delivered by all channels in a cycle."""
        return self.channels * self.data_bits // 8

    @property
    def word_bits(self):
        """Bits delivered by all channels in a cycle."""
        return 8 * self.word_bytes

    @property
    def beat_bytes(self):
        """Bytes of a beat, without scales beside it."""
        return 16 * self.slices

    @property
    def beat_words(self):
        """Words that make a beat."""
        return self.beat_bytes // self.word_bytes

    @property
    def line_bytes(self):
        """Unit of a memory address in an instruction."""
        return max(64, self.beat_bytes)

    @property
    def words_written(self):
        """Words that may be in flight to memory: each is an access of its own, and tokens' keys and
        values are many."""
        return 4 * self.outstanding

    @property
    def burst_bytes(self):
        """Bytes of an aligned burst of all channels."""
        return self.burst * self.word_bytes

    @property
    def burst_lines(self):
        """Lines of an aligned burst."""
        return self.burst_bytes // self.line_bytes

    @property
    def cache_bursts(self):
        """Aligned bursts that the cache holds."""
        return self.cache // self.burst_bytes

    @property
    def cache_granule(self):
        """Bytes of the cache that are written alone: those that share check bits, or one."""
        return min(8, self.word_bytes) if self.ecc else 1

    # Workspace

    @property
    def row_bits(self):
        """Bits of a workspace row."""
        return 32 * self.lanes

    @property
    def rows(self):
        """Rows of the workspace."""
        return self.workspace // (4 * self.lanes)

    @property
    def clear_cycles(self):
        """Cycles behind a reset in which memories with check bits are cleared."""
        return max(self.rows, self.program) if self.ecc else 0

    @property
    def block_rows(self):
        """Workspace rows that make a block of 32 elements."""
        return BLOCK // self.lanes

    @property
    def blocks(self):
        """Blocks of the workspace."""
        return self.workspace // (4 * BLOCK)

    # Keys and values. They are packed if memory holds two elements in a byte.

    @property
    def packs(self):
        """Whether there are keys and values that are packed."""
        return any(KV[name].packed for name in self.kv)

    @property
    def key_height(self):
        """Rows a slice in a tile of keys."""
        return min(16, -(-BLOCK // self.slices))

    @property
    def key_tiles(self):
        """Tiles in which the 32 keys of a KV block lie."""
        return -(-BLOCK // (self.key_height * self.slices))

    @property
    def value_scale_beats(self):
        """Beats that hold the 32 value scales of a KV block."""
        return -(-BLOCK // self.beat_bytes)

    def key_beats(self, head_blocks, packed=False):
        """Beats of the keys of a KV block, scales included."""
        groups = -(-head_blocks // self.scale_group(self.key_height, 1))
        row = 1 if packed else 2
        return self.key_tiles * (groups + row * head_blocks * self.key_height)

    def value_groups(self, head_blocks):
        """Groups of ``16 * slices`` channels in which values are stored."""
        return -(-BLOCK * head_blocks // (16 * self.slices))

    def value_pitch(self, head_blocks):
        """Bytes that a token's values take of the piece of a slice.

        A piece of a head that needs fewer than 16 holds several tokens.
        """
        rows = -(-BLOCK * head_blocks // self.slices)
        return min(16, 1 << (rows - 1).bit_length())

    def value_beats(self, head_blocks, packed=False):
        """Beats of the values of a KV block."""
        halves = 1 if packed else 2
        return halves * self.value_pitch(head_blocks) * self.value_groups(head_blocks)

    def kv_beats(self, head_blocks, packed=False):
        """Beats of a whole KV block."""
        return sum(self.part_beats(head_blocks, packed))

    def part_beats(self, head_blocks, packed=False):
        """Beats of the two parts of a KV block: keys with the codes of values, and values."""
        return (self.key_beats(head_blocks, packed) + self.value_scale_beats,
                self.value_beats(head_blocks, packed))

    def bounds_lines(self, head_blocks, packed=False):
        """Lines from one block of bounds to the next: keys of 32 pages, maxima before minima."""
        return -(-self.key_beats(2 * head_blocks, packed) * self.beat_bytes // self.line_bytes)

    def kv_lines(self, head_blocks, packed=False):
        """Lines from one KV block to the next."""
        return -(-self.kv_beats(head_blocks, packed) * self.beat_bytes // self.line_bytes)

    @property
    def max_head_blocks(self):
        """Blocks of the largest head."""
        return self.max_head // BLOCK

    # Matrix array

    @staticmethod
    def scale_group(height, scale_bytes):
        """Blocks whose scales fill whole pieces together."""
        return 16 // gcd(16, height * scale_bytes)

    @property
    def elements(self):
        """Elements that the array decodes: those of the weight formats, and of keys and values."""
        found = [FORMATS[name].element for name in self.formats] + [*map(expanded, self.kv)]
        return tuple({element.name: element for element in found}.values())

    @property
    def multiplicands(self):
        """Elements of activations, those of probabilities among them."""
        found = [PROBABILITIES, *(ACTIVATIONS[name] for name in self.activations)]
        return tuple({element.name: element for element in found}.values())

    @property
    def split(self):
        """Whether there are weights of 4 bits, of which a multiplier takes two."""
        return self.having("four")

    @property
    def shifts(self):
        """Whether products are shifted, for elements that are significand and shift."""
        return any(element.shifts for element in (*self.elements, *self.multiplicands))

    @property
    def names(self):
        """Names that fields of instructions may have, by field."""
        return {"format": self.formats, "activation": self.activations, "kv": self.kv,
                "element": tuple(dict.fromkeys((*self.activations, *self.kv)))}

    @property
    def refused(self):
        """Pairs of (format, activation) that are here, but are not multiplied with each other."""
        return [(format, activation) for format in self.formats
                for activation in self.activations if not supported(FORMATS[format], activation)]

    def having(self, what):
        """Whether a weight format has the property of this name."""
        return any(getattr(FORMATS[name], what) for name in self.formats)

    @property
    def halves(self):
        """Whether there are scales for half a block."""
        return any(FORMATS[name].scale == ScaleKind.E4M3 for name in self.formats)

    @property
    def spans(self):
        """Which :class:`hw.formats.Span` occur."""
        return {FORMATS[name].span for name in self.formats}

    @property
    def acc_rows(self):
        """Accumulator rows of a slice: a tile, then the attention output."""
        return 16 + max(16, self.kv_groups * self.output_rows)

    @property
    def output_rows(self):
        """Accumulator rows of a slice that hold the attention output of a group of columns."""
        return -(-self.max_head // self.slices)

    @property
    def beats_ahead(self):
        """Beats of weights that wait with their scales beside them.

        They come while the array waits for a result, or gives a tile again, and so many beats of
        scales behind them cost it nothing. If memory gives a beat in several cycles there is no
        need: 16, as smaller memories save nothing on boards. But the cache gives one each cycle,
        so that those of a product of 1,024 beats in INT4 are covered.
        """
        return 128 if self.cache else 16

    @property
    def key_replay(self):
        """Beats of the longest tile of keys that several groups of columns use."""
        return 2 * self.key_height * self.max_head_blocks * (2 if self.pages else 1)

    @property
    def keys_ahead(self):
        """KV blocks whose keys are read before the values of a block.

        While the scores of a block become probabilities, other blocks keep memory and array at
        work: as many as cover the way from the last beat of keys to the first one of values, in
        the time of a block of the smallest head; with one column, and with all of a group.
        """
        # Of packed blocks the array takes longer than memory does, if that gives a beat a cycle.
        read = max(self.kv_beats(1, self.packs) * self.beat_words, self.kv_beats(1))

        def blocks(columns):
            moves = columns * BLOCK // min(self.softmax_lanes, 16)  # all scores, or probabilities
            way   = (SUM_CYCLES + columns                           # sums are in the last column
                     + 2 * moves + SOFTMAX_CYCLES + BLOCK // self.softmax_lanes + PRODUCT_CYCLES)
            return -(-way // max(moves, read))

        return min(7, max(blocks(1), blocks(self.columns)))

    @property
    def softmax_lanes(self):
        """Exponentials a cycle: as many as the array needs.

        With heads of 32, keys and values of a KV block are ``2 * 32 / slices`` rows a slice, which
        are ``128 / slices`` beats. They give ``32 * columns`` scores: a quarter of ``columns *
        slices`` a cycle. Larger heads take more beats for as many scores.
        """
        wanted = -(-self.columns * self.slices // 4)
        return min(BLOCK, max(self.slices, 1 << (wanted - 1).bit_length()))

    @property
    def drain_rows(self):
        """Rows of a slice that leave the array in a cycle.

        They are a row of the workspace, and all that the softmax takes, where there are fewer
        slices than that.
        """
        return min(16, max(1, self.lanes // self.slices, self.softmax_lanes // self.slices))
