"""Attention of one head over 64 tokens of 64 elements, with the four projections around it.

Every token sees every token: the columns of an ``attend`` are then as good for tokens as for heads.
Keys and values go to memory and come back.
"""


import numpy as np

from sw.bench.machine import execute, random_weights
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
HALF = SIZE // 2            # tokens of a KV block, and vectors of a product that makes them

COUNTERS = {name: number + 1 for number, name in enumerate((
    "loaded", "rows", "queries", "staged", "unstaged", "appended", "query", "attended", "act"))}
REGISTERS = {name: number + 1 for number, name in enumerate((
    "start", "end", "count", "position"))}
#: Most tokens of an ``append``.
MOST_APPENDED = 16

#: Workspace: vectors and later results; keys, values, queries, and attention's output.
X, K, V, Q, O = (n * BLOCKS for n in range(5))


def together(config):
    """Queries that attend together."""
    return config.columns * min(config.kv_groups, SIZE // config.columns)


def fits(config):
    """Whether a machine of 256 multipliers can hold it."""
    return (16 * config.slices * config.columns == 256 and config.max_head >= SIZE
            and HALF % together(config) == 0 and config.blocks >= O + BLOCKS)


def whole_limit(config):
    """Cycles of the array: six products of 64 x 64 x 64."""
    return 6 * SIZE**3 / (16 * config.slices * config.columns)


class Program:
    """Words of the program.

    Products are made of half of the vectors, those of keys and values by turns, so that one half is
    staged and appended while the other one is computed. The product of the output begins while the
    last queries' attention is divided and rounded.
    """

    def __init__(self, config, lines):
        self.config, self.lines = config, lines
        self.out = Assembler(COUNTERS, REGISTERS)
        self.columns = config.columns
        self.attends = together(config)
        self.appended = min(MOST_APPENDED, config.kv_staging // (2 * ROW))
        act = SIZE // config.columns * ROW
        self.act = {name: n * act for n, name in enumerate(("x", "q", "o", "probability"))}

    def product(self, name, act, dst, first, number, **values):
        """A matrix of 64 x 64 and some of the vectors; its weights are ordered for it.

        It takes its activations once for all columns, but they are raised for each; and it raises
        its results once for all vectors, but they are taken one by one: marks count between them.
        """
        tiles, height, tail = tiling(SIZE, self.config.slices, FORMAT)
        self.out.emit("matmul", name, act=act + first // self.columns * ROW, dst=dst + first * ROW,
                      halves=SIZE // 16, tiles=tiles, height=height, tail=tail,
                      columns=self.columns, groups=number // self.columns, stride=ROW,
                      format=FORMAT, drain="store", **values)

    def stream(self, names):
        for name in names:
            self.out.emit("stream", name, stream="w", base=self.lines[name],
                          beats=tape_beats((SIZE, SIZE), FORMAT, self.config.slices))

    def round(self, a, act, first, number, **values):
        """Rounds vectors, from the first one on, to activations."""
        self.out.emit("quantise", a=a + first * ROW, dst=act + first // self.columns * ROW,
                      blocks=number * ROW, target="column", group=1, per_vector=ROW,
                      columns=self.columns, **values)

    def words(self):
        """All instructions."""
        out, act = self.out, self.act
        out.emit("set", "tokens", rd="count", imm=SIZE)
        out.emit("gather", "vectors", dst=X, blocks=BLOCKS, base=self.lines["x"], raise0="loaded")
        self.round(X, act["x"], 0, SIZE, take0="loaded")
        out.emit("raise", counter="unstaged", count=2 * self.appended * ROW)
        out.emit("sync")
        out.emit("wait", rd="start", source="cycle")
        self.stream("kvkv")
        for half in (0, HALF):
            self.product("k", act["x"], K, half, HALF, raise0="rows")
            self.product("v", act["x"], V, half, HALF, raise0="rows")
        self.stream("qq")
        for half in (0, HALF):
            self.product("q", act["x"], Q, half, HALF, raise0="queries")
        for half in (0, HALF):
            self.write_tokens(half)
        self.attend_all()
        out.emit("sync", "all results are there")
        out.emit("wait", rd="end", source="cycle")
        out.emit("scatter", a=X, blocks=BLOCKS, base=self.lines["results"])
        out.emit("sync")
        for register in ("start", "end"):
            out.emit("emit", ra=register)
        out.emit("stop")
        return out.words()

    def write_tokens(self, half):
        """Keys and values of half of the tokens go to memory."""
        number = self.appended
        self.out.mark("waits for keys", ROW, take="rows")
        for first in range(half, half + HALF, number):
            self.stage(K, first, number, 0, group=1)
            if first == half:
                self.out.mark("waits for values", ROW, take="rows")
            self.stage(V, first, number, number * ROW, group=ROW)
            # The acknowledgment of the last one tells that all are in memory.
            last = {"raise0": "appended"} if first + number == SIZE else {}
            self.out.emit("set", rd="position", imm=first)
            self.out.emit("append", base=self.lines["kv"], count="position", more=number - 1,
                          heads=1, head_blocks=ROW, take0="staged", raise1="unstaged", **last)

    def stage(self, a, first, number, dst, group):
        self.out.emit("quantise", a=a + first * ROW, dst=dst, blocks=number * ROW,
                      target="staging", group=group, per_vector=ROW, columns=1, take0="unstaged",
                      raise0="staged")

    def attend_all(self):
        """All queries attend, and the output is multiplied."""
        each = self.attends
        for half in (0, HALF):
            self.out.mark("waits for queries", ROW, take="queries")
            self.round(Q, self.act["q"], half, HALF, raise0="query")
            for n in range(half // each, (half + HALF) // each):
                self.attend(n)
        # The first product begins when attention ends, and the other half is ready when it ends.
        self.stream("oo")
        for half in (0, HALF):
            for n in range(half // each, (half + HALF) // each):
                self.divide(n)
            self.product("o", self.act["o"], X, half, HALF, take0="act")

    def attend(self, n):
        """The n-th queries attend."""
        first = n * self.attends
        self.out.emit("walk", base=self.lines["kv"], count="count", head_blocks=ROW, span=SIZE,
                      pattern="window", chain=int(n > 0), take0=0 if n else "appended")
        self.out.emit("attend", act=self.act["q"] + first // self.columns * ROW,
                      dst=O + first * ROW, probability=self.act["probability"], head_blocks=ROW,
                      columns=self.columns, groups=self.attends // self.columns, count="count",
                      take0="query", raise0="attended")

    def divide(self, n):
        """Attention's output is divided as it comes, and rounded."""
        blocks, first = self.attends * ROW, n * self.attends
        self.out.emit("divide", dst=O + first * ROW, a=O + first * ROW, blocks=blocks, period=ROW,
                      take0="attended")
        self.round(O, self.act["o"], first, self.attends)
        self.out.mark("a product may begin", blocks // self.columns, tell="act")


class Operands:
    """Random vectors and matrices."""

    def __init__(self, config, seed):
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((SIZE, SIZE)).astype(np.float32)

        shape = SIZE, SIZE
        self.matrices = {name: random_weights(rng, FORMAT, shape, shape)[:2] for name in "kvqo"}
        self.tapes = {name: pack(*matrix, FORMAT, config.slices)
                      for name, matrix in self.matrices.items()}

    def product(self, name, x):
        return matmul(*self.matrices[name], *quantise(x), FORMAT)

    def result(self):
        """What must come out, a row for each vector."""
        k, k_codes = quantise(self.product("k", self.x))
        v, v_codes = quantise(self.product("v", self.x), group=ROW)
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
