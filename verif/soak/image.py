"""The memory that all random programs find: numbers, matrices, keys and values, tables, lists."""

from dataclasses import dataclass

import numpy as np

from hw.formats import FORMATS
from sw.quantise import quantise_weights
from verif.reference.kv import bounds_blocks, kv_blocks
from verif.reference.tape import pack, tape_beats, tiling


__all__ = ["Image", "Matrix", "MEMORY", "WRITABLE", "OUTPUT"]

MEMORY = 1 << 20
#: Bytes that programs may write: heads, then what they scatter.
WRITABLE = range(0x40000, 0xC0000)
OUTPUT = range(0x80000, 0xC0000)

DATA = range(0, 0x10000)
TABLES = 0x10000
LISTS = 0x11000
BOUNDS = 0x12000
MATRICES = 0x14000

#: KV blocks of a head, and heads.
POOL, HEADS = 8, 4
BLOCK = 32


@dataclass(frozen=True)
class Matrix:
    """A tape in memory, and what a ``matmul`` says of it."""

    line: int
    beats: int
    rows: int
    size: int
    format: str
    tiles: int
    height: int
    tail: int

    def lines(self, config):
        return -(-self.beats * config.beat_bytes // config.line_bytes)

    @property
    def blocks(self):
        """Blocks of activations that it takes."""
        return -(-self.size // BLOCK)


class Image:
    """Bytes of memory for a configuration, and where things lie; lines are those of the machine.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    """

    def __init__(self, config):
        self.config = config
        self.line = config.line_bytes
        self.rng = np.random.default_rng(20)
        self.bytes = np.zeros(MEMORY, np.uint8)
        self._numbers()
        self._lists()
        self.head_lines = POOL * config.kv_lines(1)
        self._heads()
        self._bounds()
        self.matrices = self._matrices()

    def _numbers(self):
        """FP32 of sensible size, and in some blocks the others."""
        x = self.rng.standard_normal(len(DATA) // 4).astype(np.float32)
        blocks = x.reshape(-1, BLOCK)
        blocks *= 2.0 ** self.rng.integers(-12, 12, len(blocks))[:, None]
        special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 3e38], np.float32)
        for block in self.rng.choice(len(blocks), len(blocks) // 16, replace=False):
            blocks[block, self.rng.integers(0, BLOCK, 3)] = self.rng.choice(special, 3)
        self.put(DATA.start, x)

    def _lists(self):
        """Tables of places, and ascending lists of pages."""
        self.tables = []
        for n in range(4):
            self.tables.append((TABLES + 64 * n) // self.line)
            self.put(TABLES + 64 * n, self.rng.permutation(POOL).astype("<u4"))
        self.lists = []
        for n in range(6):
            pages = np.sort(self.rng.choice(POOL, n, replace=False)).astype("<u4")
            self.lists.append(((LISTS + 64 * n) // self.line, n))
            self.put(LISTS + 64 * n, pages)

    def _heads(self):
        rng, size = self.rng, POOL * BLOCK
        self.heads = [(WRITABLE.start // self.line) + n * self.head_lines for n in range(HEADS)]
        assert (self.heads[-1] + self.head_lines) * self.line <= OUTPUT.start
        for line in self.heads:
            elements = rng.integers(-127, 128, (2, size, BLOCK)).astype(np.int8).view(np.uint8)
            codes = rng.integers(120, 129, (2, size)).astype(np.uint8)
            self.put(line * self.line, kv_blocks(self.config, elements[0], codes[0][:, None],
                                                 elements[1], codes[1]))

    def _bounds(self):
        """Largest and smallest keys of 32 pages."""
        self.bounds = BOUNDS // self.line
        elements = self.rng.integers(-127, 128, (BLOCK, 2 * BLOCK)).astype(np.int8)
        codes = self.rng.integers(120, 129, (BLOCK, 2)).astype(np.uint8)
        self.put(BOUNDS, bounds_blocks(self.config, elements.view(np.uint8), codes))

    def _matrices(self):
        """Matrices of all the machine's formats, each behind the one before."""
        found, address = [], MATRICES
        for n in range(16):
            format = self.config.formats[n % len(self.config.formats)]
            rows = int(self.rng.choice([32, 64, 96]))
            halves = int(self.rng.integers(1, 9))
            size = 16 * (halves + halves % 2 if FORMATS[format].whole else halves)
            weights, scales, factor = quantise_weights(
                self.rng.standard_normal((rows, size)).astype(np.float32), format)
            tiles = self._cut(rows, FORMATS[format])
            tape = pack(weights[:, :size], scales, format, self.config.slices, factor, tiles)
            self.put(address, np.frombuffer(tape, np.uint8))
            found.append(Matrix(address // self.line,
                                tape_beats((rows, size), format, self.config.slices, tiles),
                                rows, size, format, *tiles))
            address += -(-len(tape) // self.line) * self.line
        assert address <= WRITABLE.start
        return found

    def _cut(self, rows, format):
        """``(tiles, height, tail)``: all tiles but the last fill rows of the workspace."""
        slices, step = self.config.slices, format.step
        unit = max(step, min(self.config.lanes, 16 * slices) // slices)
        whole = -(-rows // (slices * step)) * step
        cuts = [(tiles, height, whole - (tiles - 1) * height)
                for height in range(unit, 17, unit) for tiles in range(1, whole + 1)
                if 1 <= whole - (tiles - 1) * height <= 16]
        cuts.append(tiling(rows, slices, format))
        return cuts[self.rng.integers(len(cuts))]

    def put(self, address, values):
        raw = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        self.bytes[address:address + len(raw)] = raw
