"""Attention of one head over 64 tokens of 64 elements, with the four projections around it.

Every token sees every token: the columns of an ``attend`` are then as good for tokens as for heads.
Keys and values go to memory and come back.
"""

from types import SimpleNamespace

import numpy as np

from sw.bench.attention_program import execute
from sw.bench.gemm import random_weights
from sw.compile.assembler import Assembler
from verif.reference.attention import attention
from verif.reference.divide import divide
from verif.reference.matmul import matmul
from verif.reference.quantise import quantise
from verif.reference.tape import pack, tape_beats, tiling


__all__ = ["SIZE", "fits", "measure_whole", "whole_limit"]


#: Tokens, elements of a token, and elements of the head.
SIZE = 64
BLOCK, FORMAT = 32, "int8"
ROW = SIZE // BLOCK         # blocks of a vector
BLOCKS = SIZE * ROW         # blocks of all vectors

COUNTERS = {name: number + 1 for number, name in enumerate((
    "loaded", "rows", "q_rows", "staged", "staging", "appended", "query", "attended", "done",
    "act", "out"))}
REGISTERS = {name: number + 1 for number, name in enumerate((
    "start", "end", "none", "count", "position"))}

#: Workspace: vectors and later results; keys, values, queries and attention's output; and blocks
#: that nobody needs.
X, K, V, Q, O, SCRATCH = (n * BLOCKS for n in range(6))
#: Activations: vectors, queries, attention's output, probabilities, in units of all vectors.
PARTS = 4


def fits(config):
    """Whether a machine of 256 multipliers can hold it."""
    return (16 * config.slices * config.columns == 256 and config.max_head >= SIZE
            and SIZE % (PARTS * config.columns) == 0 and config.blocks >= SCRATCH + BLOCKS)


def whole_limit(config):
    """Cycles of the array: six products of 64 x 64 x 64."""
    return 6 * SIZE**3 / (16 * config.slices * config.columns)


def token(vector):
    """Number of the token that a vector is of: neighbours lie in both KV blocks by turns."""
    return vector % 2 * BLOCK + vector // 2


class Program:
    """Words of the program.

    An ``append`` writes one position of some heads. Here two tokens, one of each KV block, pass as
    two heads: half as many commands wait for each other.
    """

    def __init__(self, config, lines):
        self.config, self.lines = config, lines
        self.out = Assembler(COUNTERS, REGISTERS)
        self.columns = config.columns
        self.groups = SIZE // config.columns
        act = self.groups * ROW
        self.act = {name: n * act for n, name in enumerate(("x", "q", "o", "probability"))}

    def stream(self, name):
        self.out.emit("stream", name, stream="w", base=self.lines[name],
                      beats=tape_beats((SIZE, SIZE), FORMAT, self.config.slices))

    def matmul(self, act, dst, first, groups, **values):
        """A matrix of 64 x 64 and the vectors of some groups."""
        tiles, height, tail = tiling(SIZE, self.config.slices, FORMAT)
        self.out.emit("matmul", act=act + first * ROW, dst=dst + first * self.columns * ROW,
                      halves=SIZE // 16, tiles=tiles, height=height, tail=tail,
                      columns=self.columns, groups=groups, stride=ROW, format=FORMAT,
                      drain="store", **values)

    def columns_of(self, a, act, first, blocks, **values):
        """Rounds vectors, from block ``first`` on, to activations."""
        self.out.emit("quantise", a=a + first, dst=act + first // self.columns, blocks=blocks,
                      target="column", group=1, per_vector=ROW, columns=self.columns, **values)

    def words(self):
        """All instructions."""
        out = self.out
        out.emit("set", "tokens", rd="count", imm=SIZE)
        out.emit("gather", "vectors", dst=X, blocks=BLOCKS, base=self.lines["x"], raise0="loaded")
        self.columns_of(X, self.act["x"], 0, BLOCKS, take0="loaded")
        out.emit("raise", counter="staging", count=4 * ROW)
        out.emit("sync")
        out.emit("wait", rd="start", source="cycle")
        for _ in range(PARTS):
            self.stream("k")
            self.stream("v")
        part = self.groups // PARTS
        for n in range(PARTS):
            self.matmul(self.act["x"], K, n * part, part, raise0="rows")
            self.matmul(self.act["x"], V, n * part, part, raise0="rows")
        self.stream("q")
        self.stream("o")
        self.matmul(self.act["x"], Q, 0, self.groups, raise0="q_rows")
        for n in range(PARTS):
            self.write_part(n)
        number = SIZE // self.attends
        for n in range(1, number):
            self.columns_of(Q, self.act["q"], n * self.attends * ROW, self.attends * ROW,
                            raise0="query")
        for n in range(number):
            self.attend(n)
        self.matmul(self.act["o"], X, 0, self.groups, take0="act", raise0="out")
        out.emit("pick", "waits for the last result", a=X + BLOCKS - ROW, blocks=ROW, imm=0,
                 index=0, first=1, last=1, take0="out")
        out.emit("wait", rd="none", source="token")
        out.emit("wait", rd="end", source="cycle")
        out.emit("scatter", a=X, blocks=BLOCKS, base=self.lines["results"])
        out.emit("sync")
        for register in ("start", "end"):
            out.emit("emit", ra=register)
        out.emit("stop")
        return out.words()

    @property
    def attends(self):
        """Queries that attend together."""
        return self.columns * min(self.config.kv_groups, self.groups)

    def mark(self, blocks, **counters):
        """The vector unit takes or raises a counter, between what it does before and after.

        A product takes its activations once for all columns, but they are raised for each; and it
        raises its results once for all vectors, but they are taken one by one.
        """
        self.out.emit("multiply", "waits, or tells", dst=SCRATCH, a=SCRATCH, b=SCRATCH,
                      blocks=blocks, **counters)

    def write_part(self, part):
        """Keys and values of a part of the vectors go to memory."""
        vectors = SIZE // PARTS
        self.mark(2 * ROW, take0="rows")
        pairs = range(part * vectors // 2, (part + 1) * vectors // 2)
        last = part == PARTS - 1
        for pair in pairs[:-1] if last else pairs:
            self.append(2 * pair, 2)
        if last:
            # Queries are rounded while the last tokens are on their way.
            self.mark(ROW, take0="q_rows")
            self.columns_of(Q, self.act["q"], 0, self.attends * ROW, raise0="query")
            # The acknowledgment of the very last one tells that all are in memory. One token has
            # half as many staging blocks as two.
            self.mark(2 * ROW, take0="staging")
            self.append(2 * pairs[-1], 1)
            self.append(2 * pairs[-1] + 1, 1, raise0="appended")

    def append(self, vector, number, **values):
        """Keys and values of one or two vectors, neighbours, by way of the staging memory."""
        blocks, lines = number * ROW, self.config.kv_lines(ROW)
        for n, (a, group) in enumerate(((K, 1), (V, ROW))):
            self.out.emit("quantise", a=a + vector * ROW, dst=n * blocks, blocks=blocks,
                          target="staging", group=group, per_vector=ROW, columns=1,
                          take0="staging", raise0="staged")
        block, row = divmod(token(vector), BLOCK)
        self.out.emit("set", rd="position", imm=row)
        self.out.emit("append", base=self.lines["kv"] + block * lines, count="position",
                      heads=number, head_blocks=ROW, head_stride=lines, take0="staged",
                      raise1="staging", **values)

    def attend(self, n):
        """The n-th queries attend, and their output is rounded."""
        out, blocks = self.out, self.attends * ROW
        first = n * blocks
        out.emit("walk", base=self.lines["kv"], count="count", head_blocks=ROW, span=SIZE,
                 pattern="window", chain=int(n > 0), take0=0 if n else "appended")
        out.emit("attend", act=self.act["q"] + first // self.columns, dst=O + first,
                 probability=self.act["probability"], head_blocks=ROW, columns=self.columns,
                 groups=self.attends // self.columns, count="count", take0="query",
                 raise0="attended")
        # Output is drained in tiles of all vectors: the last one's block may be raised before.
        self.mark(blocks, take0="attended")
        out.emit("divide", dst=O + first, a=O + first, blocks=blocks, period=ROW, raise0="done")
        self.columns_of(O, self.act["o"], first, blocks, take0="done")
        self.mark(blocks // self.columns, raise0="act")


class Operands:
    """Random vectors and matrices."""

    def __init__(self, config, seed):
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((SIZE, SIZE)).astype(np.float32)

        shape = SimpleNamespace(format=FORMAT, outputs=SIZE, inner=SIZE, halves=SIZE // 16)
        self.matrices = {name: random_weights(rng, shape)[:2] for name in "kvqo"}
        self.tapes = {name: pack(*matrix, FORMAT, config.slices)
                      for name, matrix in self.matrices.items()}

    def product(self, name, x):
        return matmul(*self.matrices[name], *quantise(x), FORMAT)

    def result(self):
        """What must come out, a row for each vector."""
        order = np.argsort([token(vector) for vector in range(SIZE)])
        k, k_codes = quantise(self.product("k", self.x)[order])
        v, v_codes = quantise(self.product("v", self.x)[order], group=ROW)
        output, total = attention(*quantise(self.product("q", self.x)), k, k_codes, v,
                                  v_codes[:, 0])
        return self.product("o", divide(output, total[:, None], ROW))


def measure_whole(device, *, seed=1):
    """``(cycles, correct)`` on a device."""
    config, operands = device.config, Operands(device.config, seed)
    lines, place = {}, 0
    for name, data in (("x", operands.x.tobytes()), *operands.tapes.items(),
                       ("results", bytes(4 * SIZE * SIZE)),
                       ("kv", bytes(2 * config.kv_lines(ROW) * config.line_bytes))):
        lines[name] = place
        device.write(place * config.line_bytes, data)
        place += -(-len(data) // config.line_bytes)
    cycles = execute(device, Program(config, lines).words())
    got = device.read(lines["results"] * config.line_bytes, 4 * SIZE * SIZE)
    return cycles, got == operands.result().tobytes()
