"""Writes the program of a model: the token loop, its layers, and the choice of the next token.

docs/compiler.md says in which order commands are dispatched, and why nothing is overwritten while
it is read.
"""

from dataclasses import dataclass

import numpy as np

from .layer import write_all_layers, write_layer
from .paging import Pool
from .pinning import write_pins
from .plan import chunk_matrices
from .prefill import write_covered, write_prefill
from .sequences import load_prompt, write_end, write_sequence, write_values
from .sparse import write_counts, write_start_counts
from .writer import Writer


__all__ = ["Sampling", "Task", "write_program"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen; a temperature of 0 always takes the likeliest."""

    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one run does.

    With several sequences the numbers of tokens are those of all together, ``positions`` and
    ``filled`` the largest ones.

    Parameters
    ----------
    prompt : int
        Tokens of the prompt, which is in memory.
    passed : int
        Tokens of the prompt, but the last one, that pass through the model in chunks.
    chunks : tuple of int
        How many chunks of each shape.
    whole, filled : int
        As :class:`sw.compile.paging.Sequence` has them.
    covered : bool
        Whether the last token of some prompt is in a chunk.
    positions : int
        Tokens that pass through the model: one less than those of prompt and answer together.
    sampling : :class:`Sampling`
    check : bool
        Whether the logits of each position from ``passed`` on are written to memory.
    sequences : tuple of :class:`sw.compile.paging.Sequence`
        Empty if there is only one.
    pool : :class:`sw.compile.paging.Pool` or None
        Where the KV blocks of several sequences lie.
    pin : tuple of str
        What the cache holds, names of :data:`sw.compile.pinning.PINNED`.
    """

    prompt: int
    positions: int
    sampling: Sampling
    check: bool = False
    passed: int = 0
    chunks: tuple = ()
    whole: int = 0
    filled: int = 0
    covered: bool = False
    sequences: tuple = ()
    pool: Pool | None = None
    pin: tuple = ()

    @property
    def written(self):
        """Positions of which keys and values are written."""
        return max(self.positions, self.filled)


def write_program(model, config, plan, chunks, memory, kv, task):
    """The :class:`Assembler` that holds the program of a task.

    Parameters
    ----------
    model : :class:`sw.compile.layers.QuantisedModel`
    config : :class:`hw.config.Config`
    plan : :class:`sw.compile.plan.Plan`
    chunks : :class:`sw.compile.chunks.Chunks` or None
        None if all tokens pass one by one.
    memory : :class:`sw.compile.memory.MemoryMap`
    kv : tuple of :class:`sw.compile.kv.KvLayer`
    task : :class:`Task`
    """
    w = Writer(model, config, plan, chunks, memory, kv, task)
    write_pins(w)
    write_gains(w)
    write_counters(w)
    if task.sequences:
        write_sequence(w)
    if chunks is not None:
        write_prefill(w)
    if w.task.covered and not task.sequences:
        write_covered(w)
    else:
        write_start(w)
    write_token(w)
    write_all_layers(w, "layer", write_layer)
    write_next(w)
    if w.task.covered and task.sequences:
        write_covered(w)
    return w.out


def write_gains(w):
    """Gains that are there when a token, or a chunk of them, comes."""
    plan, dim = w.plan, w.model.dim_blocks
    w.gather("gain of the last norm, kept", plan.final_gain, dim, w.line("final_gain"))
    for n, gain in enumerate(plan.gain):
        w.gather("gains of layer 0", gain, dim, w.line("gains") + n * w.row_lines(dim),
                 raise0="gain_ready")


def write_counters(w):
    """What is free at the beginning."""
    for counter, blocks in (("x_free", w.model.dim_blocks), ("logits_free", w.plan.ring)):
        w.raise_counter(counter, blocks)


def write_start(w):
    """What is done once before tokens of a sequence pass one by one."""
    out, plan, passed, table = w.out, w.plan, w.task.passed, w.model.table_blocks
    if w.task.sequences:
        if w.task.covered:
            out.emit("branch", "its last token was in a chunk", condition="ge", ra="position",
                     rb="prompt", target="covered")
        write_values(w)
    else:
        if passed:
            out.emit("set", "first token that passes alone", rd="position", imm=passed)
            out.emit("set", "line of its rotary row", rd="rope", imm=passed * w.row_lines(table))
            out.emit("set", "line of its logits", rd="line", imm=0)
        out.emit("set", "tokens of the prompt", rd="prompt", imm=w.task.prompt)
        out.emit("set", "positions", rd="end", imm=w.task.positions)
    write_start_counts(w)
    w.raise_appended()
    if not w.orders_ahead:
        w.stream_layers("weights of the first token")
    load_prompt(w, "first token", "position")
    # A load stays in the queue until its value is taken: a small queue has no room behind it.
    if w.config.queue < 4:
        out.emit("wait", rd="token", source="load")
    w.gather("rotary row of the position", plan.rope_k, table, w.line("rope_k"), offset="rope")
    w.gather("", plan.rope_q, table, w.line("rope_q"), offset="rope")
    if w.config.queue >= 4:
        out.emit("wait", rd="token", source="load")


def write_token(w):
    """From a token to its embedding; orders the weights up to the next token's."""
    out, model, plan = w.out, w.model, w.plan
    out.label("token")
    out.emit("mul", "line of the token's embedding", rd="row", ra="token",
             imm=w.row_lines(model.dim_blocks))
    w.gather("embedding", plan.x, model.dim_blocks, w.line("embedding"), offset="row",
             take0="x_free", raise0="x_ready")
    out.emit("add", "tokens that attention sees", rd="count", ra="position", imm=1)
    write_counts(w)
    if not w.task.check:
        out.emit("branch", "the prompt says what comes next", condition="lt", ra="count",
                 rb="prompt", target="weights")
    w.stream("weights of the output matrix", "classifier", chunk_matrices(w.model, w.plan))
    if not w.task.check:
        out.label("weights")
    if w.orders_ahead:
        # At the end of a sequence they are those of the next sequence's first token.
        out.emit("branch", "another token", condition="lt", ra="count", rb="end", target="more")
        out.emit("branch", "the last one", condition="eq", ra="sequence", rb="zero",
                 target="layers")
        out.label("more")
    else:
        out.emit("branch", "the last token", condition="ge", ra="count", rb="end", target="layers")
    w.stream_layers("weights of the next token")
    out.label("layers")
    out.emit("set", "lines of gains used", rd="gain", imm=2 * w.row_lines(model.dim_blocks))
    out.emit("set", "line of the layer's keys and values", rd="kv", imm=0)


def write_next(w):
    """From the last layer to the next token."""
    out, model, plan, task = w.out, w.model, w.plan, w.task
    table = model.table_blocks
    out.label("next")
    out.emit("add", rd="next", ra="position", imm=1)
    out.emit("branch", "the last token", condition="ge", ra="next", rb="end", target="choose")
    out.emit("add", rd="rope", ra="rope", imm=w.row_lines(table))
    w.gather("rotary row of the next position", plan.rope_k, table, w.line("rope_k"),
             offset="rope")
    w.gather("", plan.rope_q, table, w.line("rope_q"), offset="rope")
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
        out.emit("add", rd="line", ra="line", imm=logits_lines(w))
        out.emit("branch", "the prompt says what comes next", condition="lt", ra="next",
                 rb="prompt", target="given")
    for end in model.ends:
        out.emit("set", "a token that ends a text", rd="row", imm=end)
        out.emit("branch", condition="eq", ra="token", rb="row", target="stop")
    out.emit("emit", ra="token")
    out.emit("add", rd="position", ra="next")
    out.emit("branch", condition="lt", ra="position", rb="end", target="token")
    out.label("stop")
    if task.sequences:
        write_end(w)
    out.emit("flush", "weights that were ordered ahead", w=1, d=1)
    out.emit("stop")
    if task.check:
        out.label("given")
        write_load(w)


def write_load(w):
    """The next token comes from the prompt."""
    load_prompt(w, "", "next")
    w.out.emit("wait", rd="token", source="load")
    w.out.emit("add", rd="position", ra="next")
    w.out.emit("branch", condition="eq", ra="zero", rb="zero", target="token")


def logits_lines(w):
    """Lines of one position's logits; each chunk begins at a line."""
    return sum(w.row_lines(chunk.blocks) for chunk in w.plan.chunks)


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
                       base=line, offset="line", take0="picked", **released)
            line += w.row_lines(chunk.blocks)
