"""Emits instructions of one model, plan and memory map; names of counters and registers."""

import numpy as np

from verif.reference.tape import tiling

from .assembler import Assembler
from .heads import rounds_of_heads
from .kv import lists_of_blocks
from .layers import matrices_of


__all__ = ["COUNTERS", "MINUS_ONE", "REGISTERS", "Writer"]

#: What each counter counts, in blocks of 32 elements unless said otherwise.
COUNTERS = {name: number + 1 for number, name in enumerate((
    "x_ready",      # the residual stream
    "x_free",       # its blocks that the next token may overwrite
    "gain_ready",   # gains of a norm
    "gain_free",
    "done",         # from one vector operation to the next
    "act",          # activations of a matrix product
    "rows",         # results of a matrix product
    "staged",       # keys and values of the token
    "appended",     # heads whose keys and values are in memory
    "query",        # activations of queries
    "attended",     # outputs of attention
    "logits",       # logits; while layers run, what memory holds and the vector unit needs
    "logits_free",
    "picked",       # logits, or bounds of keys, that may be written to memory
    "unstaged",     # what was staged and has been read for its way to memory
))}

REGISTERS = {name: number + 1 for number, name in enumerate((
    "position", "token", "count", "row", "rope", "gain", "kv", "layer", "prompt", "end", "next",
    "page", "pages", "line", "round"))}
#: Sparse layers and several sequences never meet in a program.
REGISTERS["sequence"] = REGISTERS["page"]

MINUS_ONE = 0xFFFFFFFF
#: Largest count of one ``raise``.
MOST_RAISED = 1023


class Writer:
    """Emits the instructions of one model, plan and memory map."""

    def __init__(self, model, config, plan, chunks, memory, kv, task):
        self.model, self.config, self.task = model, config, task
        self.plan, self.chunks = plan, chunks
        #: The shape of the chunk that is being written.
        self.chunk = None
        self.memory, self.kv = memory, kv
        self.out = Assembler(COUNTERS, REGISTERS)

    @property
    def chains(self):
        """Whether keys of a walk may come before values of the walk before.

        Its attend must then be dispatched while the one before is not finished, with the divide
        and the quantise between them in the queue of the vector unit.
        """
        return self.config.queue >= 8

    @property
    def orders_ahead(self):
        """Whether a sequence ends with the weights ordered that the next one begins with."""
        return bool(self.task.sequences) and self.chunks is None

    @property
    def forwards(self):
        """Whether walks of tokens that pass alone do not wait until the token is in memory.

        Bounds of pages must then be staged beside the token, which attention still needs.
        """
        chooses = any(sees.sparse is not None for sees in self.model.sees)
        tokens = 2 if chooses else 1
        return bool(self.config.forward) and (
            2 * tokens * self.model.kv_blocks <= self.config.kv_staging)

    def raise_appended(self):
        """The token before is in memory: walks of the next layer need not wait for it."""
        if self.forwards:
            self.out.emit("raise", "the token before is in memory", counter="appended",
                          count=self.model.n_kv_heads)

    def line(self, name):
        """First line of a region."""
        return self.memory.regions[name].line

    def row_lines(self, blocks):
        """Lines of a row of float32 blocks."""
        return self.memory.row_lines(blocks)

    def raise_counter(self, counter, blocks):
        """Raise a counter by any number."""
        for first in range(0, blocks, MOST_RAISED):
            self.out.emit("raise", counter=counter, count=min(MOST_RAISED, blocks - first))

    def count_down(self, register, label):
        """Take one from a register; go to a label unless that gives zero."""
        self.out.emit("add", rd=register, ra=register, imm=MINUS_ONE)
        self.out.emit("branch", condition="ne", ra=register, rb="zero", target=label)

    def gather(self, comment, dst, blocks, base, **values):
        self.out.emit("gather", comment, dst=dst, blocks=blocks, base=base, **values)

    def beats(self, matrices):
        """Of the tapes of matrices."""
        return sum(matrix.beats(self.config.slices) for matrix in matrices)

    def lines_of(self, beats):
        """Lines of so many beats."""
        return beats * self.config.beat_bytes // self.config.line_bytes

    def stream(self, comment, region, matrices, behind=()):
        """Order matrices of a region, which lie behind those of ``behind``."""
        self.out.emit("stream", comment, stream="w", beats=self.beats(matrices),
                      base=self.line(region) + self.lines_of(self.beats(behind)))

    def stream_layers(self, comment):
        self.stream(comment, "layers", matrices_of(self.model.layers))

    def matmul(self, comment, matrix, *, dst, act, drain="store", **values):
        """A product with a matrix, or with the next ``tiles`` tiles of one, which are full."""
        rows, size = matrix.weights.shape
        tiles, height, tail = tiling(rows, self.config.slices, matrix.format)
        if "tiles" in values:
            tiles, tail = values.pop("tiles"), height
        values = {"columns": 1, "groups": 1, "stride": 0, **values}
        self.out.emit("matmul", comment, dst=dst, act=act, halves=size // 16, tiles=tiles,
                      height=height, tail=tail, format=matrix.format, drain=drain,
                      activation=self.model.activation, **values)

    def norm(self, comment, gain, vectors=1, **values):
        imm = int(np.float32(self.model.guard).view(np.uint32))
        dim = self.model.dim_blocks
        values = {"dst": self.plan.n, "a": self.plan.x, "take0": "x_ready", **values}
        self.out.emit("norm", comment, b=gain, imm=imm, blocks=vectors * dim, period=dim, **values)

    @property
    def done(self):
        """Counter of the blocks between a vector operation and the rounding behind it. Padded heads
        have more blocks than were counted, and what the vector unit does is in order anyhow: 0."""
        return 0 if self.model.compact else "done"

    def heads_of(self, at, first=0, together=1, distance=0):
        """Fields by which `quantise` reads heads that a product gave, each padded to the blocks
        that it has in attention.

        Parameters
        ----------
        at, first : int
            Workspace block of a vector, and number of its head with which to begin.
        together, distance : int
            Vectors that give a head each, in turn, and blocks from one to the next.
        """
        model = self.model
        if not model.compact:
            return dict(a=at + first * model.head_blocks)
        halves = model.head_halves
        return dict(a=at + first * halves // 2, middle=first * halves % 2, halves=halves,
                    zeros=2 * model.head_blocks - halves, pieces=together, stride=distance,
                    step=halves)

    def joined(self, heads, distance=0):
        """Fields by which `quantise` reads heads that attention gave, without what pads them:
        ``(first head, blocks of a vector, fields)`` of each command.

        ``distance`` are blocks from a head of a vector to the next one, if other vectors lie
        between; 0 if there is one vector. Heads of whole blocks follow each other as they are.
        """
        halves, padded = self.model.head_halves, 2 * self.model.head_blocks
        if not self.model.compact:
            yield 0, heads * halves // 2, {}
            return
        for first, number, zeros in rounds_of_heads(heads, halves):
            yield first, (number * halves + zeros) // 2, dict(
                halves=halves, zeros=zeros, pieces=number if distance else 1, stride=distance,
                step=padded)

    def quantise(self, comment, a, dst, blocks, *, take0="done", raise0="act", per_vector=None,
                 columns=1, **values):
        """Activations, to columns."""
        self.out.emit("quantise", comment, a=a, dst=dst, blocks=blocks, target="column", group=1,
                      per_vector=per_vector or blocks, columns=columns, take0=take0, raise0=raise0,
                      element=self.model.activation, rule=self.model.rule, **values)

    def stage(self, comment, a, dst, **values):
        """Keys or values of a token, to the staging memory; values have one code for a head."""
        values = {"blocks": self.model.kv_blocks, **values}
        self.out.emit("quantise", comment, a=a, dst=dst, target="staging", columns=1,
                      per_vector=self.model.head_blocks, element=self.model.kv,
                      rule=self.model.rule, raise0="staged", **values)

    def walk(self, kv, head, **values):
        """Keys and values of a KV head of a layer; a list of blocks is ordered first."""
        sees, pattern = kv.sees, "window"
        if sees.blocks is not None:
            number, pattern = lists_of_blocks(self.kv).index(sees.blocks), "chosen"
            self.out.emit("choose", "blocks to read besides", base=self.line(f"blocks_{number}"),
                          count="count", entries=len(sees.blocks))
        if sees.sparse is not None:
            pattern, values = "chosen", {"page": sees.sparse.page_shift, **values}
        self.out.emit("walk", f"KV head {head}", base=self.line("kv") + head * kv.head_lines,
                      offset="kv", count="count", head_blocks=self.model.head_blocks,
                      window=sees.window, sinks=sees.sinks, ring=kv.ring, pattern=pattern,
                      kv=self.model.kv,
                      **{"span": 1, **values})

    def attend(self, kv, comment, **values):
        """Attention to what a walk brings."""
        window, sinks = kv.sees.mask
        values = {"probability": self.plan.probability, **values}
        self.out.emit("attend", comment, head_blocks=self.model.head_blocks, count="count",
                      window=window, sinks=sinks, activation=self.model.activation,
                      kv=self.model.kv, **values)

    def append(self, kv, **values):
        """Staged keys and values of all heads, to memory."""
        values = {"count": "position", **values}
        self.out.emit("append", "", base=self.line("kv"), offset="kv", heads=kv.heads,
                      head_blocks=self.model.head_blocks, head_stride=kv.head_lines, ring=kv.ring,
                      sinks=kv.sees.sinks, kv=self.model.kv, **values)
