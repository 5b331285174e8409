"""Matrix products of many shapes: cycles from the start of the product to its last result."""

import numpy as np

from hw import register_map as rm
from hw.formats import FORMATS, ScaleKind
from sw.bench.row import Row
from sw.compile.assembler import Assembler
from verif.reference.matmul import matmul
from verif.reference.quantise import quantise
from verif.reference.tape import pack, tape_beats, tiling


__all__ = ["SHAPES", "measure", "rows"]


#: vectors x outputs x inner size, weight format
SHAPES = (
    (64, 64, 64, "int8"), (128, 128, 128, "int8"), (256, 256, 256, "int8"),
    (32, 2048, 512, "int8"), (100, 100, 100, "int8"),
    (1, 512, 512, "int8"), (1, 512, 512, "int4"),
)

COUNTERS = {"loaded": 1, "written": 2, "last": 3, "room": 4}
REGISTERS = {"start": 1, "end": 2, "none": 3}
BLOCK = 32


def padded(size, unit=BLOCK):
    return -(-size // unit) * unit


class Layout:
    """Where a product's operands and results lie."""

    def __init__(self, config, vectors, outputs, inner, format):
        self.config, self.format = config, format
        self.vectors, self.outputs, self.inner = vectors, outputs, inner
        self.columns = min(config.columns, vectors)
        self.groups = -(-vectors // self.columns)
        self.all_vectors = self.groups * self.columns
        # Rows of 8 and 16 bits may end in half a block.
        self.halves = padded(inner, BLOCK if FORMATS[format].whole else 16) // 16
        self.blocks = padded(inner) // BLOCK
        # Outputs are computed in chunks that the workspace holds twice.
        half = config.blocks // 2
        tile = padded(max(BLOCK, 16 * config.slices))
        chunk = max(1, half // self.all_vectors * BLOCK // tile) * tile
        self.chunks = [(first, min(chunk, padded(outputs) - first))
                       for first in range(0, padded(outputs), chunk)]
        self.half = half
        # Time counts from the first beat at the array, but where memory is the limit, what it
        # delivers before does not come for free.
        self.ahead = vectors > 1

    def lines(self, count):
        return -(-count // self.config.line_bytes)


def stream_weights(out, layout, addresses):
    beats = sum(tape_beats((rows, 16 * layout.halves), layout.format, layout.config.slices)
                for _, rows in layout.chunks)
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
        free = rows // BLOCK * layout.all_vectors
        for counted in range(0, free, 1023):
            out.emit("raise", counter="room", count=min(1023, free - counted))
    out.emit("wait", rd="start", source="cycle")
    if not layout.ahead:
        stream_weights(out, layout, addresses)
    region = 0
    for n, (_, rows) in enumerate(layout.chunks):
        tiles, height, tail = tiling(rows, layout.config.slices, layout.format)
        dst, last = layout.half * (n % 2), n == len(layout.chunks) - 1
        chunk_blocks = rows // BLOCK
        others = chunk_blocks * (layout.all_vectors - 1)
        out.emit("matmul", dst=dst, act=0, halves=layout.halves, tiles=tiles, height=height,
                 tail=tail, columns=layout.columns, groups=layout.groups, stride=chunk_blocks,
                 format=layout.format, drain="store", take1="room",
                 raise0="last" if last else "written")
        if last:
            # Blocks are counted in the last vector only: it is written last.
            out.emit("pick", a=dst + others, blocks=chunk_blocks, imm=0, index=0, first=1, last=1,
                     take0="last")
            out.emit("wait", rd="none", source="token")
            out.emit("wait", rd="end", source="cycle")
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


def random_weights(rng, layout):
    """``(weights, scales, factor)``, zero beyond the matrix."""
    format, outputs = FORMATS[layout.format], layout.outputs
    w = np.zeros((padded(outputs), 16 * layout.halves), format.element.integers.dtype)
    w[:outputs, :layout.inner] = rng.choice(format.element.numbers, (outputs, layout.inner))
    scales = np.zeros((len(w), format.scales(w.shape[1])), format.scale.dtype)
    # Of moderate size: bits of numbers for BF16, codes for the others.
    low, high = {ScaleKind.FP16: (0x1400, 0x2E00), ScaleKind.BF16: (0x3A80, 0x3DC0),
                 ScaleKind.E8M0: (117, 124), ScaleKind.E4M3: (1, 0x7E)}[format.scale]
    scales.view(f"u{scales.itemsize}")[:outputs] = rng.integers(
        low, high, (outputs, scales.shape[1]))
    return w, scales, np.float32(0.01) if format.factor else None


def measure(device, vectors, outputs, inner, format, *, seed=1):
    """``(cycles, correct)`` of one product on a device."""
    config = device.config
    layout = Layout(config, vectors, outputs, inner, format)
    rng = np.random.default_rng(seed)
    x = np.zeros((layout.all_vectors, padded(inner)), np.float32)
    x[:vectors, :inner] = rng.standard_normal((vectors, inner))
    w, scales, factor = random_weights(rng, layout)

    line, addresses, place = config.line_bytes, {}, 0
    tape = b"".join(pack(w[first:first + rows], scales[first:first + rows], format, config.slices,
                         factor) for first, rows in layout.chunks)
    for name, data in (("vectors", x.tobytes()), ("weights", tape), ("results", b"")):
        addresses[name] = place // line
        if data:
            device.write(place, data)
        place += -(-len(data) // line) * line
    device.program(program(layout, addresses))
    device.start()
    status = device.run(10_000_000)
    if status != rm.DONE:
        raise ValueError(f"the machine ended with status {status}, {device.cause().name}, at "
                         f"instruction {device.read_register('pc')}")
    start, end = device.emitted()

    q, codes = quantise(x)
    wanted = matmul(w, scales, q[:, :16 * layout.halves], codes, format, factor=factor)
    place, correct = addresses["results"] * line, True
    for first, rows in layout.chunks:
        got = np.frombuffer(device.read(place, layout.all_vectors * rows * 4), np.uint32)
        correct &= np.array_equal(got.reshape(-1, rows),
                                  wanted[:, first:first + rows].copy().view(np.uint32))
        place += layout.lines(layout.all_vectors * rows * 4) * line
    return end - start, bool(correct)


def limit(config, vectors, outputs, inner, format):
    """Cycles that arithmetic and memory allow: the larger of the two."""
    rate = 2 * 16 * config.slices // FORMATS[format].beats
    columns = min(vectors, config.columns)
    arithmetic = vectors * outputs * inner / rate / columns
    return max(arithmetic, outputs * inner * FORMATS[format].bits(inner) / 8 / config.word_bytes)


def rows(config, shapes=SHAPES):
    """A :class:`Row` for each shape."""
    from sim.device import SimulatedDevice
    for vectors, outputs, inner, format in shapes:
        with SimulatedDevice(config) as device:
            cycles, correct = measure(device, vectors, outputs, inner, format)
        yield Row(case=f"{vectors}x{outputs}x{inner} {format}", config=config.name, cycles=cycles,
                  limit=limit(config, vectors, outputs, inner, format), correct=correct,
                  command=f"tokamac bench gemm --config {config.name}",
                  more={"multipliers": 16 * config.slices * config.columns})
