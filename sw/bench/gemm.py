"""Matrix products of many shapes: cycles from the first beat at the array to the last result."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hw.formats import FORMATS
from hw.matmul.timing import Timing
from sw.bench.machine import execute, random_weights
from sw.bench.matrices import matrix_bytes
from sw.bench.row import Row
from sw.compile.assembler import Assembler
from verif.reference.matmul import matmul
from verif.reference.quantise import quantise
from verif.reference.tape import pack, tape_beats, tile_beats, tiling


__all__ = ["SHAPES", "Shape", "measure", "rows"]


class Shape(NamedTuple):
    """A product, and how many cycles 256 multipliers shall take at most; ``wide``: it is measured
    again with memory that delivers weights at the array's rate."""

    vectors: int
    outputs: int
    inner: int
    format: str = "int8"
    wanted: int | None = None
    wide: bool = False


SHAPES = (
    Shape(64, 64, 64, wanted=1_077), Shape(128, 128, 128, wanted=8_316),
    Shape(256, 256, 256, wanted=65_865), Shape(32, 2048, 512, wanted=131_300, wide=True),
    Shape(100, 100, 100, wanted=4_650),
    Shape(1, 512, 512, wanted=17_550), Shape(1, 512, 512, "int4", wanted=9_320),
    Shape(1, 512, 512, "int8row", wanted=16_500),
)

#: Cycles that measuring takes: an instruction takes 3, a raise is seen after one, and a sync ends a
#: cycle after the last row is written; the first and the last cycle both count.
MEASURING = 7

COUNTERS = {"loaded": 1, "written": 2, "go": 3, "room": 4}
REGISTERS = {"start": 1, "end": 2, "none": 3}
BLOCK, HALF = 32, 16


def padded(size, unit=BLOCK):
    return -(-size // unit) * unit


class Layout:
    """Where a product's operands and results lie; ``ahead``: its first weights are read before time
    begins."""

    def __init__(self, config, vectors, outputs, inner, format, ahead=True):
        self.config, self.format = config, format
        self.vectors, self.outputs, self.inner = vectors, outputs, inner
        self.columns = min(config.columns, vectors)
        self.groups = -(-vectors // self.columns)
        self.all_vectors = self.groups * self.columns
        # Rows of 8 and 16 bits may end in half a block.
        self.halves = padded(inner, BLOCK if FORMATS[format].whole else HALF) // HALF
        self.blocks = padded(inner) // BLOCK
        # Outputs are computed in chunks that the workspace holds twice. The last one may end
        # anywhere.
        half = config.blocks // 2
        tile = padded(max(BLOCK, HALF * config.slices))
        chunk = max(1, half // self.all_vectors * BLOCK // tile) * tile
        all_rows = padded(outputs, config.slices * FORMATS[format].step)
        self.chunks = [(first, min(chunk, all_rows - first))
                       for first in range(0, all_rows, chunk)]
        self.half, self.ahead = half, ahead

    def tiles(self, rows):
        """``(tiles, height, tail)`` of so many rows, which take fewest cycles.

        Tiles of 16 rows have the fewest beats of scales. Lower ones leave less to be drained at the
        end, and their beats may all wait in the FIFO of weights when their turn comes.
        """
        slices, step = self.config.slices, FORMATS[self.format].step
        unit = max(step, min(self.config.lanes, HALF * slices) // slices)
        height = rows // slices
        found = [tiling(rows, slices, self.format)]
        if self.groups > 1:
            found += [(tiles, each, height - (tiles - 1) * each)
                      for each in range(unit, HALF + 1, unit)
                      for tiles in range(1, height // each + 2)
                      if step <= height - (tiles - 1) * each <= HALF]
        return min(found, key=self.cycles)

    def cycles(self, tiles):
        """About how many a product takes that is cut so, which has several groups."""
        tiles, height, tail = tiles
        config, format, least = self.config, FORMATS[self.format], Timing(self.config).loop
        total = drain = 0
        for number, rows in ((tiles - 1, height), (1, tail)):
            half = rows * format.beats // 2
            # Terms of a row come so far from each other.
            idle = [max(0, least - 2 * half)] * (self.blocks - 1)
            idle[-1:] = [max(0, least - half)] if self.halves % 2 and idle else idle[-1:]
            beats = half * self.halves + sum(idle)
            raw = tile_beats(HALF * self.halves, rows, format)
            late = max(0, raw - config.w_fifo // config.beat_bytes) * (config.beat_words - 1)
            drain = padded(rows * config.slices, config.lanes) * self.columns // config.lanes
            total += number * (self.groups * max(beats, drain) + late)
        return total + drain

    def lines(self, count):
        return -(-count // self.config.line_bytes)


def stream_weights(out, layout, addresses):
    beats = sum(tape_beats((rows, HALF * layout.halves), layout.format, layout.config.slices,
                           layout.tiles(rows)) for _, rows in layout.chunks)
    out.emit("stream", "weights", stream="w", base=addresses["weights"], beats=beats)


def program(layout, addresses):
    """Loads and quantises the vectors, multiplies, stores; emits the cycles of the product."""
    out = Assembler(COUNTERS, REGISTERS)
    vector_blocks = layout.blocks
    if layout.ahead:
        stream_weights(out, layout, addresses)
    at_once = max(1, layout.config.blocks // vector_blocks // layout.columns) * layout.columns
    for first in range(0, layout.all_vectors, at_once):
        number = min(at_once, layout.all_vectors - first)
        blocks = number * vector_blocks
        out.emit("gather", "vectors", dst=0, blocks=blocks, raise0="loaded",
                 base=addresses["vectors"] + layout.lines(first * vector_blocks * 128))
        out.emit("quantise", a=0, dst=first // layout.columns * vector_blocks, blocks=blocks,
                 target="column", group=1, per_vector=vector_blocks, columns=layout.columns,
                 take0="loaded")
        out.emit("sync")
    for _, rows in layout.chunks[:2]:
        # Both halves of the workspace are free.
        raise_counter(out, "room", padded(rows) // BLOCK * layout.all_vectors)
    region = 0
    for n, (_, rows) in enumerate(layout.chunks):
        tiles, height, tail = layout.tiles(rows)
        dst, last = layout.half * (n % 2), n == len(layout.chunks) - 1
        chunk_blocks = padded(rows) // BLOCK
        others = chunk_blocks * (layout.all_vectors - 1)
        out.emit("matmul", dst=dst, act=0, halves=layout.halves, tiles=tiles, height=height,
                 tail=tail, columns=layout.columns, groups=layout.groups, stride=chunk_blocks,
                 format=layout.format, drain="store", take0=0 if n else "go", take1="room",
                 raise0=0 if last else "written")
        if n == 0:
            start_product(out, layout, addresses)
        if last:
            out.emit("sync")
            out.emit("wait", rd="end", source="cycle")
        # Blocks are counted in the last vector only: it is written last.
        results = addresses["results"] + region
        out.emit("scatter", a=dst + others, blocks=chunk_blocks, raise1="room",
                 base=results + layout.lines(others * 128), take0=0 if last else "written")
        if others:
            out.emit("scatter", a=dst, blocks=others, base=results, raise1="room")
        region += layout.lines((others + chunk_blocks) * 128)
    out.emit("sync")
    out.emit("emit", ra="start")
    out.emit("emit", ra="end")
    out.emit("stop")
    return out.words()


def start_product(out, layout, addresses):
    """Let the first product begin, when it waits for nothing else; or order its weights."""
    for _ in range(8):
        out.emit("set", "the product comes to where it waits", rd="none", imm=0)
    if not layout.ahead:
        raise_counter(out, "go", layout.blocks * layout.groups)
    out.emit("wait", rd="start", source="cycle")
    if layout.ahead:
        raise_counter(out, "go", layout.blocks * layout.groups)
    else:
        stream_weights(out, layout, addresses)


def raise_counter(out, counter, count):
    for first in range(0, count, 1023):
        out.emit("raise", counter=counter, count=min(1023, count - first))


def measure(device, vectors, outputs, inner, format, *, ahead=True, seed=1):
    """``(cycles, correct)`` of one product on a device.

    From the first beat at the array to the last row in the workspace, both counted; from the order
    of the weights on if they are not read ``ahead``.
    """
    config = device.config
    layout = Layout(config, vectors, outputs, inner, format, ahead)
    rng = np.random.default_rng(seed)
    x = np.zeros((layout.all_vectors, padded(inner)), np.float32)
    x[:vectors, :inner] = rng.standard_normal((vectors, inner))
    w, scales, factor = random_weights(rng, format, (outputs, inner),
                                       (sum(layout.chunks[-1]), HALF * layout.halves))

    line, addresses, place = config.line_bytes, {}, 0
    tape = b"".join(pack(w[first:first + rows], scales[first:first + rows], format, config.slices,
                         factor, layout.tiles(rows)) for first, rows in layout.chunks)
    for name, data in (("vectors", x.tobytes()), ("weights", tape), ("results", b"")):
        addresses[name] = place // line
        if data:
            device.write(place, data)
        place += -(-len(data) // line) * line
    cycles = execute(device, program(layout, addresses), 10_000_000) - MEASURING

    q, codes = quantise(x)
    wanted = matmul(w, scales, q[:, :HALF * layout.halves], codes, format, factor=factor)
    place, correct = addresses["results"] * line, True
    for first, rows in layout.chunks:
        size = layout.all_vectors * padded(rows) * 4
        got = np.frombuffer(device.read(place, size), np.uint32).reshape(layout.all_vectors, -1)
        correct &= np.array_equal(got[:, :rows],
                                  wanted[:, first:first + rows].copy().view(np.uint32))
        place += layout.lines(size) * line
    return cycles, bool(correct)


def limit(config, vectors, outputs, inner, format):
    """Cycles that arithmetic and memory allow: the larger of the two. Of several vectors the first
    weights are there when time begins."""
    rate = 2 * 16 * config.slices // FORMATS[format].beats
    columns = min(vectors, config.columns)
    arithmetic = vectors * outputs * inner / rate / columns
    weights = matrix_bytes((outputs, inner), format)
    return max(arithmetic, (weights - (config.w_fifo if vectors > 1 else 0)) / config.word_bytes)


def rows(config, shapes=SHAPES):
    """A :class:`Row` for each shape whose format the configuration has."""
    for shape in shapes:
        if shape.format in config.formats:
            yield row(config, config.name, *shape[:5])
            beat = config.beat_bytes // config.channels
            if shape.wide and config.word_bytes < config.beat_bytes:
                yield row(replace(config, data_bits=8 * beat), config.name, *shape[:5])


def row(config, name, vectors, outputs, inner, format, wanted):
    """A :class:`Row`; the bus of the configuration may be wider than that of the one named."""
    from sim.device import SimulatedDevice
    with SimulatedDevice(config) as device:
        # Where memory is the limit, what it delivers before time begins does not come for free.
        cycles, correct = measure(device, vectors, outputs, inner, format, ahead=vectors > 1)
        if vectors == 1:
            cycles -= answer(device, format)
    multipliers = HALF * config.slices * config.columns
    return Row(case=f"{vectors}x{outputs}x{inner} {format}", config=name, cycles=cycles,
               limit=limit(config, vectors, outputs, inner, format), correct=correct,
               command=f"tokamac bench gemm --config {name}",
               more={"wanted": wanted if multipliers == 256 else None,
                     "multipliers": multipliers, "bytes_a_cycle": config.word_bytes})


def answer(device, format):
    """Cycles from the order of weights to the first beat at the array, by the smallest product."""
    size = BLOCK if FORMATS[format].whole else HALF
    late, early = (measure(device, 1, 1, size, format, ahead=ahead)[0] for ahead in (False, True))
    return late - early
