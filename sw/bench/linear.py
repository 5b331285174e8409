"""The linear layers of a decoder layer for several sequences at once: one pass over the weights.

All vectors are quantised and in the columns before time counts, and results stay in the workspace
until it has ended, so that memory moves nothing but weights.
"""

import numpy as np

from hw.formats import BLOCK, FORMATS
from sw.bench.machine import execute, random_weights
from sw.bench.matrices import matrix_bytes
from sw.compile.assembler import Assembler
from verif.reference.matmul import matmul
from verif.reference.quantise import quantise
from verif.reference.tape import pack, tape_beats, tiling


__all__ = ["Data", "Layout", "measure", "program"]


COUNTERS = {"loaded": 1}
REGISTERS = {"start": 1, "end": 2}

#: Most blocks of a command.
MOST_BLOCKS = 4095


class Layout:
    """Where the operands and results of a batch lie on a machine.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    matrices : list of (int, int)
        Rows and sizes of rows. Products with the same size have the same vectors.
    batch : int
        Sequences: vectors of a product.
    format : str
        Of the weights.
    layers : int
        How often the weights pass.

    Attributes
    ----------
    columns, groups, vectors : int
        Of a product; there are more vectors than sequences if groups are not full.
    act : dict of int to int
        First activation block of the vectors of a size.
    lines : dict of str to int
        First line of each region of memory.
    """

    def __init__(self, config, matrices, batch, format, layers=1):
        self.config, self.matrices, self.layers = config, tuple(matrices), layers
        self.batch, self.format = batch, format
        self.columns = min(config.columns, batch)
        self.groups = -(-batch // self.columns)
        self.vectors = self.columns * self.groups
        sizes = dict.fromkeys(size for _, size in self.matrices)
        self.act, blocks = {}, 0
        for size in sizes:
            self.act[size] = blocks
            blocks += self.groups * in_blocks(size)
        self.results = [in_blocks(rows) * self.vectors for rows, _ in self.matrices]
        self._check("act_blocks", config.act_blocks, blocks)
        self._check("workspace blocks", config.blocks, sum(self.results))
        for rows, size in self.matrices if self.groups > 1 else ():
            _, height, _ = tiling(padded(rows), config.slices, format)
            self._check("replay", config.replay, height * FORMATS[format].beats * in_blocks(size)
                        * config.beat_bytes)
        self.lines, line = {}, 0
        for name, count in (("weights", self.beats * config.beat_bytes),
                            *((f"vectors_{size}", 128 * self.vectors * in_blocks(size))
                              for size in sizes),
                            ("results", 0)):
            self.lines[name] = line
            line += -(-count // config.line_bytes)

    def _check(self, what, have, wanted):
        if wanted > have:
            raise ValueError(f"a batch of {self.batch} needs {what} {wanted}, configuration "
                             f"{self.config} has {have}")

    @property
    def beats(self):
        """Of the weights of a layer."""
        return sum(tape_beats((padded(rows), padded(size)), self.format, self.config.slices)
                   for rows, size in self.matrices)

    @property
    def bytes(self):
        """Of the weights of all layers with their scales, unpadded."""
        return self.layers * sum(matrix_bytes(shape, self.format) for shape in self.matrices)

    @property
    def multiplications(self):
        """Of one sequence, in all layers."""
        return self.layers * sum(rows * size for rows, size in self.matrices)


def padded(size):
    return -(-size // BLOCK) * BLOCK


def in_blocks(size):
    return -(-size // BLOCK)


def program(layout):
    """Words that load and quantise the vectors, multiply, and emit the cycles of that."""
    out, config, columns = Assembler(COUNTERS, REGISTERS), layout.config, layout.columns
    for size, act in layout.act.items():
        each = in_blocks(size)
        at_once = max(1, min(config.blocks, MOST_BLOCKS) // each // columns) * columns
        for first in range(0, layout.vectors, at_once):
            blocks = min(at_once, layout.vectors - first) * each
            out.emit("gather", "vectors", dst=0, blocks=blocks, raise0="loaded",
                     base=layout.lines[f"vectors_{size}"]
                     + 128 * first * each // config.line_bytes)
            out.emit("quantise", a=0, dst=act + first // columns * each, blocks=blocks,
                     target="column", group=1, per_vector=each, columns=columns, take0="loaded")
            out.emit("sync")
    out.emit("wait", rd="start", source="cycle")
    for _ in range(layout.layers):
        write_layer(out, layout)
    out.emit("sync")
    out.emit("wait", rd="end", source="cycle")
    results = sum(layout.results)
    for first in range(0, results, MOST_BLOCKS // 8 * 8):
        blocks = min(MOST_BLOCKS // 8 * 8, results - first)
        out.emit("scatter", a=first, blocks=blocks,
                 base=layout.lines["results"] + 128 * first // config.line_bytes)
    out.emit("emit", ra="start")
    out.emit("emit", ra="end")
    out.emit("stop")
    return out.words()


def write_layer(out, layout):
    out.emit("stream", "weights", stream="w", beats=layout.beats, base=layout.lines["weights"])
    dst = 0
    for (rows, size), results in zip(layout.matrices, layout.results):
        tiles, height, tail = tiling(padded(rows), layout.config.slices, layout.format)
        out.emit("matmul", dst=dst, act=layout.act[size], halves=2 * in_blocks(size), tiles=tiles,
                 height=height, tail=tail, columns=layout.columns, groups=layout.groups,
                 stride=in_blocks(rows), format=layout.format, drain="store")
        dst += results


class Data:
    """Random weights and vectors, and their products; batches are the first of all vectors.

    Parameters
    ----------
    matrices, format
        As :class:`Layout` has them.
    vectors : int
        Of the largest batch, full groups.
    seed : int
    """

    def __init__(self, matrices, vectors, format, *, seed=1):
        rng = np.random.default_rng(seed)
        self.format, self.weights, self.products, self.x = format, [], [], {}
        for _, size in matrices:
            if size not in self.x:
                self.x[size] = np.zeros((vectors, padded(size)), np.float32)
                self.x[size][:, :size] = rng.standard_normal((vectors, size))
        for rows, size in matrices:
            weights = random_weights(rng, format, (rows, size), (padded(rows), padded(size)))
            self.weights.append(weights)
            self.products.append(matmul(*weights[:2], *quantise(self.x[size]), format,
                                        factor=weights[2]))

    def tape(self, slices):
        """Bytes of all weights."""
        return b"".join(pack(w, scales, self.format, slices, factor)
                        for w, scales, factor in self.weights)


def measure(device, layout, data):
    """``(cycles, correct)`` of one pass on a device, from the order of the weights to rest."""
    line = device.config.line_bytes
    device.load(layout.lines["weights"] * line, data.tape(device.config.slices))
    for size, x in data.x.items():
        device.write(layout.lines[f"vectors_{size}"] * line, x[:layout.vectors].tobytes())
    cycles = execute(device, program(layout), 100_000_000)
    wanted = b"".join(product[:layout.vectors].tobytes() for product in data.products)
    return cycles, device.read(layout.lines["results"] * line, len(wanted)) == wanted
