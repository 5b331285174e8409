"""Configuration of one machine: what a user chooses, what follows from it, and its presets."""

import difflib
import hashlib
import tomllib
from dataclasses import asdict, dataclass, fields
from math import gcd
from pathlib import Path

from .formats import ACTIVATIONS, FORMATS, KV, PROBABILITIES, ScaleKind, expanded, supported


__all__ = ["Config", "presets", "load"]

PRESETS = Path(__file__).parent / "presets"

#: Tokens in a KV block, and elements that share a scale.
BLOCK = 32

#: Cycles, at most, from a beat to its sum in the bank of the first column; from the last scores of
#: a vector to its first probabilities, if all come at once; and from the last probabilities of a
#: block to the first beat of its values.
SUM_CYCLES, SOFTMAX_CYCLES, PRODUCT_CYCLES = 20, 40, 8


def one_of(*values):
    return lambda value: value in values, "one of " + ", ".join(map(str, values))


def between(low, high):
    return lambda value: low <= value <= high, f"{low} to {high}"


def power_of_two(low, high):
    def legal(value):
        return low <= value <= high and value & (value - 1) == 0
    return legal, f"a power of two, {low} to {high}"


def zero_or(test):
    legal, wanted = test
    return lambda value: value == 0 or legal(value), f"0, or {wanted}"


#: key -> (test, description of the legal values)
LEGAL = {
    "channels":        power_of_two(1, 32),
    "data_bits":       power_of_two(32, 1024),
    "address_bits":    between(32, 48),
    "burst":           power_of_two(2, 64),
    "outstanding":     power_of_two(2, 64),
    "slices":          power_of_two(1, 64),
    "columns":         between(1, 64),
    "depth":           one_of(1, 2, 4, 8, 16),
    "lanes":           one_of(2, 4, 8, 16, 32),
    "w_fifo":          power_of_two(512, 2**20),
    "d_fifo":          power_of_two(512, 2**20),
    "replay":          between(1024, 2**20),
    "workspace":       power_of_two(2**12, 2**24),
    "act_blocks":      power_of_two(16, 4096),
    "max_head":        one_of(32, 64, 128, 256),
    "kv_staging":      power_of_two(8, 1024),
    "kv_groups":       between(1, 15),
    "pages":           zero_or(power_of_two(64, 4096)),
    "program":         power_of_two(128, 4096),
    "queue":           power_of_two(2, 32),
    "technology":      one_of("generic", "ecp5"),
}


#: key -> names of which it is a choice
CHOICES = {"formats": FORMATS, "activations": ACTIVATIONS, "kv": KV}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Geometry of a machine.

    Parameters
    ----------
    name : str
        Name of the configuration, used for files and modules.
    channels, data_bits, address_bits, burst, outstanding : int
        AXI4 masters, bits of one's data bus, bits of an address, longest read burst in transfers,
        and bursts in flight.
    slices, columns, depth : int
        Matrix array: weight rows taken in a cycle, activation vectors held, and multiplier pairs
        between two pipeline registers.
    lanes : int
        FP32 lanes of the vector unit, and width of the workspace.
    w_fifo, d_fifo, replay, workspace : int
        Bytes of the weight and data FIFOs, of the replay buffer (scales not counted) and of the
        workspace.
    act_blocks : int
        32-element activation blocks that each column holds.
    max_head : int
        Largest size of an attention head, padded.
    kv_staging : int
        Quantised KV blocks that wait to be written.
    kv_groups : int
        Groups of columns for which attention uses a KV block that was read once.
    pages : int
        Most pages of a head from which block-sparse attention chooses; 0: it is left out.
    program, queue : int
        Instructions of program memory, and commands that wait for each unit.
    formats : tuple of str
        Weight formats, names of :data:`hw.formats.FORMATS`. What is not named costs nothing.
    activations, kv : tuple of str
        Elements of activations, names of :data:`hw.formats.ACTIVATIONS`, and of keys and values,
        names of :data:`hw.formats.KV`.
    technology : str
        ``generic``, or ``ecp5`` for its multiplier primitives.
    """

    name: str
    channels: int = 1
    data_bits: int = 128
    address_bits: int = 40
    burst: int = 16
    outstanding: int = 16
    slices: int = 2
    columns: int = 8
    depth: int = 4
    lanes: int = 8
    w_fifo: int = 8192
    d_fifo: int = 4096
    replay: int = 16384
    workspace: int = 65536
    act_blocks: int = 256
    max_head: int = 64
    kv_staging: int = 32
    kv_groups: int = 1
    pages: int = 0
    program: int = 512
    queue: int = 8
    formats: tuple = ("int8", "int4")
    activations: tuple = ("int8",)
    kv: tuple = ("int8",)
    technology: str = "generic"

    def __post_init__(self):
        for key, names in CHOICES.items():
            chosen = getattr(self, key)
            if not isinstance(chosen, (list, tuple)) or not all(
                    isinstance(name, str) for name in chosen):
                raise TypeError(f"{key} must be a list of some of {', '.join(names)}, not "
                                f"{chosen!r}")
            object.__setattr__(self, key, tuple(chosen))
        for key, (legal, wanted) in LEGAL.items():
            value = getattr(self, key)
            kind = type(type(self).__dataclass_fields__[key].default)
            if type(value) is not kind:
                raise TypeError(f"{key} must be {wanted}, not {value!r}")
            if not legal(value):
                raise ValueError(f"{key} must be {wanted}, not {value!r}")
        for key, names in CHOICES.items():
            chosen = getattr(self, key)
            if not chosen or not set(chosen) <= set(names) or len(set(chosen)) != len(chosen):
                raise ValueError(f"{key} must be a choice of {', '.join(names)}, each once, not "
                                 f"{list(chosen)!r}")
        for name in self.formats:
            self._check(any(supported(FORMATS[name], each) for each in self.activations),
                        f"format {name} cannot be multiplied with activations "
                        f"{', '.join(self.activations)} alone; add int8 to activations")
        self._check(self.beat_bytes % self.word_bytes == 0,
                    f"channels {self.channels} x data_bits {self.data_bits} deliver "
                    f"{self.word_bytes} bytes a cycle, more than the beat of slices "
                    f"{self.slices} x 16 = {self.beat_bytes} bytes takes; use at least "
                    f"{self.word_bytes // 16} slices")
        self._check(self.burst * self.word_bytes >= self.line_bytes,
                    f"burst {self.burst} must cover a line of {self.line_bytes} bytes; "
                    f"use at least {self.line_bytes // self.word_bytes}")
        self._check(self.burst * self.data_bits // 8 <= 4096,
                    f"burst {self.burst} x data_bits {self.data_bits} crosses 4 KiB; "
                    f"use at most {4096 * 8 // self.data_bits}")
        for key in ("w_fifo", "d_fifo"):
            least = 2 * self.burst * self.word_bytes
            self._check(getattr(self, key) >= max(least, 4 * self.beat_bytes),
                        f"{key} must hold two bursts and four beats, at least "
                        f"{max(least, 4 * self.beat_bytes)} bytes, not {getattr(self, key)}")
        self._check(16 % self.depth == 0, f"depth must divide 16, not {self.depth}")
        self._check(not self.packs or self.slices <= 16,
                    f"kv int4 needs at most 16 slices, so that two values of a slice are in a "
                    f"block, not {self.slices}")

    @staticmethod
    def _check(condition, message):
        if not condition:
            raise ValueError(message)

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
    def line_words(self):
        """Words of a line (at least one)."""
        return self.line_bytes // self.word_bytes

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

    # Identity

    @property
    def hash(self):
        """32 bits that name everything a compiled program depends on."""
        choice = {k: v for k, v in asdict(self).items() if k not in ("name", "technology")}
        digest = hashlib.sha256(repr(sorted(choice.items())).encode()).digest()
        return int.from_bytes(digest[:4], "little")

    def __str__(self):
        return self.name


def presets():
    """Names of the presets, in order of size."""
    order = {"nano": 0, "sim": 1, "formats": 2, "ulx3s": 3, "server": 4, "wide": 9}
    return sorted((path.stem for path in PRESETS.glob("*.toml")),
                  key=lambda name: (order.get(name, 5), name))


def load(choice):
    """The :class:`Config` of a preset's name or of a TOML file's path.

    Raises :class:`ValueError` or :class:`TypeError` with a sentence for the user.
    """
    path = Path(choice)
    if path.suffix != ".toml":
        if choice not in presets():
            raise ValueError(f"there is no preset {choice!r}; choose one of "
                             f"{', '.join(presets())}, or name a .toml file")
        path = PRESETS / f"{choice}.toml"
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"the configuration file {choice} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the configuration file {choice} is not TOML: {error}") from None
    known = [field.name for field in fields(Config)]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; keys are {', '.join(known)}"
            raise ValueError(f"unknown key {key!r} in {choice}{hint}")
    return Config(**{"name": path.stem, **table})
