"""Writes the program of a model: the token loop, its layers, and the choice of the next token.

docs/compiler.md says in which order commands are dispatched, and why nothing is overwritten while
it is read.
"""

from dataclasses import dataclass

import numpy as np

from verif.reference.tape import tape_beats, tiling

from .assembler import Assembler
from .plan import chunk_matrices


__all__ = ["COUNTERS", "REGISTERS", "Sampling", "Task", "write_program"]

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
    "logits",
    "logits_free",
    "picked",       # logits that may be written to memory
))}

REGISTERS = {name: number + 1 for number, name in enumerate((
    "position", "token", "count", "row", "rope", "gain", "kv", "layer", "prompt", "end", "next",
    "bos", "eos", "logits"))}

MINUS_ONE = 0xFFFFFFFF
#: Largest count of one ``raise``.
MOST_RAISED = 1023


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen; a temperature of 0 always takes the likeliest."""

    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one run does.

    Parameters
    ----------
    prompt : int
        Tokens of the prompt, which is in memory.
    positions : int
        Tokens that pass through the model: one less than those of prompt and answer together.
    sampling : :class:`Sampling`
    check : bool
        Whether the logits of each position are written to memory.
    """

    prompt: int
    positions: int
    sampling: Sampling
    check: bool = False


class Writer:
    """Emits the instructions of one model, plan and memory map."""

    def __init__(self, model, config, plan, memory, task):
        self.model, self.config, self.plan, self.task = model, config, plan, task
        self.memory = memory
        self.out = Assembler(COUNTERS, REGISTERS)

    def line(self, name):
        """First line of a region."""
        return self.memory.regions[name].line

    def gather(self, comment, dst, blocks, base, **values):
        self.out.emit("gather", comment, dst=dst, blocks=blocks, base=base, **values)

    def stream(self, comment, region, matrices):
        beats = sum(tape_beats(m.weights.shape, m.format, self.config.slices)
                    for m in matrices)
        self.out.emit("stream", comment, stream="w", base=self.line(region), beats=beats)

    def stream_layers(self, comment):
        self.stream(comment, "layers", [m for layer in self.model.layers for m in layer.matrices])

    def matmul(self, comment, matrix, *, dst, act, drain="store", **values):
        rows, size = matrix.weights.shape
        tiles, height, tail = tiling(rows, self.config.slices, matrix.format)
        self.out.emit("matmul", comment, dst=dst, act=act, halves=size // 16, tiles=tiles,
                      height=height, tail=tail, columns=1, groups=1, stride=0,
                      format=matrix.format, drain=drain, activation=self.model.activation,
                      **values)

    def norm(self, comment, gain, **values):
        plan, imm = self.plan, int(np.float32(self.model.guard).view(np.uint32))
        self.out.emit("norm", comment, dst=plan.n, a=plan.x, b=gain, imm=imm,
                      blocks=self.model.dim_blocks, take0="x_ready", **values)

    def quantise(self, comment, a, dst, blocks, *, take0="done", raise0="act", per_vector=None,
                 columns=1):
        """Activations, to columns."""
        self.out.emit("quantise", comment, a=a, dst=dst, blocks=blocks, target="column", group=1,
                      per_vector=per_vector or blocks, columns=columns, take0=take0, raise0=raise0,
                      element=self.model.activation, rule=self.model.rule)


def write_program(model, config, plan, memory, task):
    """The :class:`Assembler` that holds the program of a task.

    Parameters
    ----------
    model : :class:`sw.compile.layers.QuantisedModel`
    config : :class:`hw.config.Config`
    plan : :class:`sw.compile.plan.Plan`
    memory : :class:`sw.compile.memory.MemoryMap`
    task : :class:`Task`
    """
    w = Writer(model, config, plan, memory, task)
    write_start(w)
    write_token(w)
    for number, layers in enumerate(runs_of_layers(model.layers)):
        write_layers(w, "layer" if number == 0 else f"layer_{number}", layers)
    write_next(w)
    return w.out


def row_lines(w, blocks):
    """Lines of a row of float32 blocks."""
    return w.memory.row_lines(blocks)


def write_start(w):
    """What is done once."""
    out, model, plan = w.out, w.model, w.plan
    out.emit("set", "tokens of the prompt", rd="prompt", imm=w.task.prompt)
    out.emit("set", "positions", rd="end", imm=w.task.positions)
    out.emit("set", "the tokens that end a text", rd="bos", imm=model.ends[0])
    out.emit("set", rd="eos", imm=model.ends[1])
    w.stream_layers("weights of the first token")
    out.emit("load", "first token", base=w.line("prompt"), count="position")
    dim, head = model.dim_blocks, model.head_blocks
    w.gather("gain of the last norm, kept", plan.final_gain, dim, w.line("final_gain"))
    for n, gain in enumerate(plan.gain):
        w.gather("gains of layer 0", gain, dim, w.line("gains") + n * row_lines(w, dim),
                 raise0="gain_ready")
    w.gather("rotary row of position 0", plan.rope_k, head, w.line("rope_k"))
    w.gather("", plan.rope_q, head, w.line("rope_q"))
    for counter, blocks in (("x_free", dim), ("logits_free", plan.ring)):
        for first in range(0, blocks, MOST_RAISED):
            out.emit("raise", counter=counter, count=min(MOST_RAISED, blocks - first))
    out.emit("wait", rd="token", source="load")


def write_token(w):
    """From a token to its embedding; orders the weights up to the next token's."""
    out, model, plan = w.out, w.model, w.plan
    out.label("token")
    out.emit("mul", "line of the token's embedding", rd="row", ra="token",
             imm=row_lines(w, model.dim_blocks))
    w.gather("embedding", plan.x, model.dim_blocks, w.line("embedding"), offset="row",
             take0="x_free", raise0="x_ready")
    out.emit("add", "tokens that attention sees", rd="count", ra="position", imm=1)
    if not w.task.check:
        out.emit("branch", "the prompt says what comes next", condition="lt", ra="count",
                 rb="prompt", target="weights")
    w.stream("weights of the output matrix", "classifier", chunk_matrices(w.model, w.plan))
    if not w.task.check:
        out.label("weights")
    out.emit("branch", "the last token", condition="ge", ra="count", rb="end", target="layers")
    w.stream_layers("weights of the next token")
    out.label("layers")
    out.emit("set", "lines of gains used", rd="gain", imm=2 * row_lines(w, model.dim_blocks))
    out.emit("set", "line of the layer's keys and values", rd="kv", imm=0)


def runs_of_layers(layers):
    """Layers that follow each other and differ in their numbers only, together."""
    runs = []
    for layer in layers:
        formats = [matrix.format for matrix in layer.matrices]
        if runs and formats == [matrix.format for matrix in runs[-1][0].matrices]:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return runs


def write_layers(w, label, layers):
    """A loop over layers of the same formats; addresses are in registers."""
    out, model, plan = w.out, w.model, w.plan
    dim, line = model.dim_blocks, row_lines(w, model.dim_blocks)
    layer = layers[0]

    out.emit("set", "layers to go", rd="layer", imm=len(layers))
    out.label(label)
    write_walk(w, 0, take0="appended")
    w.norm("attention", plan.gain[0], take1="gain_ready", raise0="done", raise1="gain_free")
    w.quantise("", plan.n, plan.vector, dim)
    w.gather("gain of the next layer", plan.gain[0], dim, w.line("gains"), offset="gain",
             take0="gain_free", raise0="gain_ready")
    w.matmul("keys, values, queries", layer.kvq, dst=plan.rows, act=plan.vector,
             take0="act", raise0="rows")
    write_keys_and_values(w)
    write_attention(w)
    w.matmul("attention's output matrix", layer.output, dst=plan.x,
             act=plan.vector, drain="add", take0="act", raise0="x_ready")

    w.norm("feed-forward network", plan.gain[1], take1="gain_ready", raise0="done",
           raise1="gain_free")
    w.quantise("", plan.n, plan.vector, dim)
    w.gather("gain of the next layer", plan.gain[1], dim, w.line("gains") + line, offset="gain",
             take0="gain_free", raise0="gain_ready")
    w.matmul("gate and up", layer.gate_up, dst=plan.h, act=plan.vector,
             take0="act", raise0="rows")
    out.emit("gate", "", dst=plan.h, a=plan.h, blocks=model.hidden_blocks, take0="rows",
             take1="rows", raise0="done")
    w.quantise("", plan.h, plan.inner, model.hidden_blocks)
    w.matmul("down", layer.down, dst=plan.x, act=plan.inner, drain="add",
             take0="act", raise0="x_ready")

    out.emit("add", "the next layer", rd="gain", ra="gain", imm=2 * line)
    out.emit("add", rd="kv", ra="kv", imm=w.memory.regions["kv"].lines // len(model.layers))
    out.emit("add", rd="layer", ra="layer", imm=MINUS_ONE)
    out.emit("branch", condition="ne", ra="layer", rb="zero", target=label)


def head_lines(w):
    """Lines from the keys and values of one head to those of the next."""
    return w.memory.regions["kv"].lines // (len(w.model.layers) * w.model.n_kv_heads)


def write_walk(w, head, **values):
    blocks = w.model.head_blocks
    w.out.emit("walk", f"KV head {head}", base=w.line("kv") + head * head_lines(w), offset="kv",
               count="count", stride=w.config.kv_lines(blocks),
               beats=w.config.kv_beats(blocks), **values)


def write_keys_and_values(w):
    """Rotates and rounds keys, values and queries; keys and values go to memory."""
    out, model, plan = w.out, w.model, w.plan
    k, v, q = plan.rows, plan.rows + model.kv_blocks, plan.rows + 2 * model.kv_blocks
    head = model.head_blocks
    out.emit("rope", "keys", dst=k, a=k, b=plan.rope_k, blocks=model.kv_blocks, period=head,
             take0="rows", raise0="done")
    staging = {"target": "staging", "raise0": "staged", "blocks": model.kv_blocks,
               "per_vector": head, "columns": 1, "element": model.kv, "rule": model.rule}
    out.emit("quantise", "keys", a=k, dst=0, group=1, take0="done", **staging)
    out.emit("quantise", "values", a=v, dst=model.kv_blocks, group=head, take0="rows", **staging)
    out.emit("append", "", base=w.line("kv"), offset="kv", count="position",
             heads=model.n_kv_heads, head_blocks=head, head_stride=head_lines(w),
             take0="staged", raise0="appended")
    out.emit("rope", "queries", dst=q, a=q, b=plan.rope_q, blocks=model.q_blocks, period=head,
             take0="rows", raise0="done")
    w.quantise("queries of a KV head lie in columns", q, plan.query, model.q_blocks,
               raise0="query", per_vector=head, columns=plan.columns)
    if plan.extra:
        # The tiles' rows beyond the queries are zeros, and nobody else takes their blocks.
        out.emit("multiply", "zeros", dst=q, a=q + model.q_blocks, b=q + model.q_blocks,
                 blocks=plan.extra, take0="rows")


def write_attention(w):
    """Each group of query heads that fits the columns attends, and its output is rounded."""
    out, model, plan = w.out, w.model, w.plan
    head = model.head_blocks
    blocks = plan.columns * head
    rounds = model.queries // plan.columns
    for n in range(model.n_heads // plan.columns):
        kv_head, again = divmod(n, rounds)
        if n:
            # The first walk of the layer was dispatched at its beginning.
            write_walk(w, kv_head, **({} if again else {"take0": "appended"}))
        heads = f"query heads {n * plan.columns}..{(n + 1) * plan.columns - 1}"
        out.emit("attend", heads, dst=plan.o + n * blocks, act=plan.query + n * head,
                 probability=plan.probability, head_blocks=head, columns=plan.columns,
                 count="count", activation=model.activation, kv=model.kv, take0="query",
                 raise0="attended")
        out.emit("divide", "", dst=plan.o + n * blocks, a=plan.o + n * blocks, blocks=blocks,
                 period=head, take0="attended", raise0="done")
        w.quantise("", plan.o + n * blocks, plan.vector + n * blocks, blocks)


def write_next(w):
    """From the last layer to the next token."""
    out, model, plan, task = w.out, w.model, w.plan, w.task
    head = model.head_blocks
    out.emit("add", rd="next", ra="position", imm=1)
    out.emit("branch", "the last token", condition="ge", ra="next", rb="end", target="choose")
    out.emit("add", rd="rope", ra="rope", imm=row_lines(w, head))
    w.gather("rotary row of the next position", plan.rope_k, head, w.line("rope_k"),
             offset="rope")
    w.gather("", plan.rope_q, head, w.line("rope_q"), offset="rope")
    if not task.check:
        out.emit("branch", "it has to be chosen", condition="ge", ra="next", rb="prompt",
                 target="choose")
        w.norm("only to release the residual stream", plan.final_gain, raise1="x_free")
        out.label("given")
        write_load(w)

    out.label("choose")
    w.norm("output", plan.final_gain, raise0="done", raise1="x_free")
    w.quantise("", plan.n, plan.vector, model.dim_blocks)
    write_logits(w)
    out.emit("wait", rd="token", source="token")
    if task.check:
        out.emit("add", rd="logits", ra="logits", imm=logits_lines(w))
        out.emit("branch", "the prompt says what comes next", condition="lt", ra="next",
                 rb="prompt", target="given")
    for register in ("bos", "eos"):
        out.emit("branch", "the text has ended", condition="eq", ra="token", rb=register,
                 target="stop")
    out.emit("emit", ra="token")
    out.emit("add", rd="position", ra="next")
    out.emit("branch", condition="lt", ra="position", rb="end", target="token")
    out.label("stop")
    out.emit("flush", "weights that were ordered ahead", w=1, d=1)
    out.emit("stop")
    if task.check:
        out.label("given")
        write_load(w)


def write_load(w):
    """The next token comes from the prompt."""
    w.out.emit("load", "", base=w.line("prompt"), count="next")
    w.out.emit("wait", rd="token", source="load")
    w.out.emit("add", rd="position", ra="next")
    w.out.emit("branch", condition="eq", ra="zero", rb="zero", target="token")


def logits_lines(w):
    """Lines of one position's logits; each chunk begins at a line."""
    return sum(row_lines(w, chunk.blocks) for chunk in w.plan.chunks)


def write_logits(w):
    """Logits by chunks, the choice among them, and in check mode their way to memory."""
    plan, task, sampling = w.plan, w.task, w.task.sampling
    ring = {"take1": "logits_free"} if plan.ring else {}
    released = {"raise1": "logits_free"} if plan.ring else {}
    warm = sampling.temperature > 0
    imm = np.float32(1 / sampling.temperature if warm else 1)
    line = w.line("logits") if task.check else 0
    for n, (chunk, matrix) in enumerate(zip(plan.chunks, chunk_matrices(w.model, w.plan))):
        w.matmul(f"logits {32 * chunk.first}..", matrix, dst=chunk.slot,
                 act=plan.vector, raise0="logits", **({} if n else {"take0": "act"}), **ring)
        w.out.emit("pick", "", a=chunk.slot, blocks=chunk.blocks, imm=int(imm.view(np.uint32)),
                   index=chunk.first, count="position", first=int(n == 0),
                   last=int(n == len(plan.chunks) - 1), noise=int(warm), take0="logits",
                   **({"raise1": "picked"} if task.check else released))
        if task.check:
            w.out.emit("scatter", "", a=chunk.slot, blocks=chunk.blocks,
                       base=line, offset="logits", take0="picked", **released)
            line += row_lines(w, chunk.blocks)
