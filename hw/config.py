"""Configuration of one machine: what a user chooses, and its presets."""

import difflib
import hashlib
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .formats import ACTIVATIONS, FORMATS, KV, supported
from .geometry import Geometry


__all__ = ["Config", "presets", "load"]

PRESETS = Path(__file__).parent / "presets"


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
    "cache":           zero_or(power_of_two(1024, 2**30)),
    "ranges":          between(1, 8),
    "workspace":       power_of_two(2**12, 2**24),
    "act_blocks":      power_of_two(16, 4096),
    "max_head":        one_of(32, 64, 128, 256),
    "kv_staging":      power_of_two(8, 1024),
    "kv_groups":       between(1, 15),
    "pages":           zero_or(power_of_two(64, 4096)),
    "forward":         one_of(0, 1),
    "program":         power_of_two(128, 4096),
    "queue":           power_of_two(2, 32),
    "ecc":             one_of(0, 1),
    "technology":      one_of("generic", "ecp5"),
}


#: key -> names of which it is a choice
CHOICES = {"formats": FORMATS, "activations": ACTIVATIONS, "kv": KV}


@dataclass(frozen=True, kw_only=True)
class Config(Geometry):
    """What a user chooses; what follows from it is :class:`.Geometry`.

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
    cache, ranges : int
        Bytes of the on-die cache, 0: there is none; and address ranges that it can hold at once.
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
    forward : int
        1: attention gets the newest token's keys and values from the staging memory, so that
        decoding does not wait for memory to have them; 0: it is left out.
    program, queue : int
        Instructions of program memory, and commands that wait for each unit.
    formats : tuple of str
        Weight formats, names of :data:`hw.formats.FORMATS`. What is not named costs nothing.
    activations, kv : tuple of str
        Elements of activations, names of :data:`hw.formats.ACTIVATIONS`, and of keys and values,
        names of :data:`hw.formats.KV`.
    ecc : int
        1: program memory, workspace and cache correct a wrong bit of a word and detect two, and
        settings have parity; 0: it is left out.
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
    cache: int = 0
    ranges: int = 4
    workspace: int = 65536
    act_blocks: int = 256
    max_head: int = 64
    kv_staging: int = 32
    kv_groups: int = 1
    pages: int = 0
    forward: int = 0
    program: int = 1024
    queue: int = 8
    formats: tuple = ("int8", "int4")
    activations: tuple = ("int8",)
    kv: tuple = ("int8",)
    ecc: int = 0
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
        self._check(self.cache == 0 or self.cache >= 2 * self.burst_bytes,
                    f"cache must be 0, or hold two bursts of {self.burst_bytes} bytes, not "
                    f"{self.cache} bytes")
        self._check(16 % self.depth == 0, f"depth must divide 16, not {self.depth}")
        self._check(not self.packs or self.slices <= 16,
                    f"kv int4 needs at most 16 slices, so that two values of a slice are in a "
                    f"block, not {self.slices}")

    @staticmethod
    def _check(condition, message):
        if not condition:
            raise ValueError(message)

    # Identity

    @property
    def hash(self):
        """32 bits that name everything a compiled program depends on."""
        choice = {k: v for k, v in asdict(self).items() if k not in ("name", "ecc", "technology")}
        digest = hashlib.sha256(repr(sorted(choice.items())).encode()).digest()
        return int.from_bytes(digest[:4], "little")

    def __str__(self):
        return self.name


def presets():
    """Names of the presets, in order of size."""
    order = {"nano": 0, "sim": 1, "formats": 2, "small": 3, "ulx3s": 3, "server": 4, "wide": 9}
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
