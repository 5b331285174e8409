"""Writes what a prompt passes through in chunks: the model, several tokens at a time.

docs/compiler.md says why nothing is overwritten while it is read.
"""

from .chunk_layer import gather_gain, write_last_layer, write_layer
from .layer import write_all_layers
from .layer import write_layer as write_layer_of_token
from .layers import matrices_of
from .plan import chunk_matrices
from .products import stream_chunk
from .sequences import load_value, write_values
from .stages import write_norms
from .writer import MINUS_ONE


__all__ = ["write_covered", "write_prefill"]


def write_prefill(w):
    """All chunks of a task; keys and values of their tokens are in memory afterwards."""
    several = w.task.sequences
    if not several:
        w.out.emit("set", "tokens of the prompt", rd="prompt", imm=w.task.prompt)
    for name, end, chunk, number in zip(("chunk", "rest"), ("whole", "filled"), w.chunks.plans,
                                        w.task.chunks):
        if not number:
            continue
        w.chunk = chunk
        if several:
            load_value(w, end, "end")
            w.out.emit("branch", "no such chunks", condition="ge", ra="position", rb="end",
                       target=f"{name}_none")
        else:
            w.out.emit("set", "end of the chunks", rd="end", imm=getattr(w.task, end))
        write_chunks(w, name)
        if several:
            w.out.label(f"{name}_none")
    w.chunk = None


def write_chunks(w, name):
    """All chunks of a shape; labels begin with ``name``."""
    out, model, chunk = w.out, w.model, w.chunk
    unstaged = 2 * model.kv_blocks * chunk.staged
    w.raise_counter("unstaged", unstaged)
    write_tokens(w)
    write_last_rows(w, chunk.parts[:-1])
    write_others(w)
    write_norms(w, chunk.parts[0], w.plan.gain[0])
    out.label(name)
    out.emit("set", "lines of gains used", rd="gain", imm=2 * w.row_lines(model.dim_blocks))
    out.emit("set", "line of the layer's keys and values", rd="kv", imm=0)
    if len(chunk.parts) == 1:
        stream_chunk(w)
    else:
        out.emit("set", "line of the layer's weights", rd="line", imm=0)
    write_all_layers(w, f"{name}_layer", write_layer, len(model.layers) - 1)
    write_last_layer(w, [lambda write=write: write(w, name) for write in (
        write_next_tokens, write_next_gains, write_next_norms, write_next_chunk)])
    out.mark("takes what is free", unstaged, take="unstaged")
    out.emit("sync", "before workspace, registers, and what was written are used otherwise")


def write_next_tokens(w, name):
    """Tokens of the first part of the next chunk, if there is one, but the last row: the second
    part's norms would take it for what they wait for."""
    out, model, chunk = w.out, w.model, w.chunk
    out.emit("add", rd="position", ra="position", imm=chunk.chunk)
    for register, blocks in (("rope", model.table_blocks), ("row", model.dim_blocks)):
        out.emit("add", rd=register, ra=register, imm=chunk.chunk * w.row_lines(blocks))
    skip_at_end(w, f"{name}_tokens")
    out.mark("the residual stream of the first part has been read", model.table_blocks, tell="done")
    write_tokens(w, take0="done")
    out.label(f"{name}_tokens")


def write_next_gains(w, name):
    """Gains of the first layer; those of the last one for the last token of a prompt, which passes
    through it once more, alone."""
    out, chunk, dim = w.out, w.chunk, w.model.dim_blocks
    if w.task.covered:
        out.emit("branch", "the last token is to come", condition="lt", ra="position", rb="prompt",
                 target=f"{name}_gains")
        out.emit("add", "gains of the last layer once more", rd="gain", ra="gain",
                 imm=-2 * w.row_lines(dim) & MINUS_ONE)
        out.label(f"{name}_gains")
    for number in range(2):
        gather_gain(w, number)
    if chunk.parts[:-1]:
        skip_at_end(w, f"{name}_first")
        write_last_rows(w, chunk.parts[:-1])
        out.label(f"{name}_first")
    if w.task.covered:
        out.emit("branch", "the last token is to come", condition="lt", ra="position", rb="prompt",
                 target=f"{name}_more")
        write_residual(w)
        out.label(f"{name}_more")


def write_next_norms(w, name):
    """First norms of the next chunk, if there is one."""
    skip_at_end(w, f"{name}_norms")
    write_norms(w, w.chunk.parts[0], w.plan.gain[0])
    w.out.label(f"{name}_norms")


def write_next_chunk(w, name):
    """The next chunk, if there is one."""
    out = w.out
    skip_at_end(w, f"{name}_end")
    # The mover has appended the last keys, so all have been rotated.
    write_others(w)
    if len(w.chunk.parts) == 1:
        write_norms(w, w.chunk.parts[0], w.plan.gain[0])
    out.emit("branch", "the next one", condition="eq", ra="zero", rb="zero", target=name)
    out.label(f"{name}_end")


def skip_at_end(w, label):
    w.out.emit("branch", "the last chunk", condition="ge", ra="position", rb="end", target=label)


def write_tokens(w, **take):
    """Rotary rows of queries, and embeddings of the first of two parts."""
    write_rotary_rows(w, "rope_q", **take)
    for part in w.chunk.parts[:-1]:
        write_embeddings(w, part)


def write_others(w):
    """What else a chunk needs."""
    write_rotary_rows(w, "rope_k")
    write_embeddings(w, w.chunk.parts[-1])
    write_last_rows(w, w.chunk.parts[-1:])


def write_embeddings(w, part):
    """Embeddings of a part, but the last one."""
    gather_rows(w, "prompt_rows", part.x, w.model.dim_blocks, part.first, w.chunk.tokens - 1,
                offset="row")


def write_last_rows(w, parts):
    """The last embedding of a part says that all are there."""
    last, dim = w.chunk.tokens - 1, w.model.dim_blocks
    for part in parts:
        gather_rows(w, "prompt_rows", part.x + last * dim, dim, part.first + last, 1, offset="row",
                    raise0="x_ready")


def write_rotary_rows(w, name, **take):
    """Rotary rows of keys or queries of all parts; only the first one waits."""
    chunk, table = w.chunk, w.model.table_blocks
    at, alone = getattr(chunk.parts[0], name), int(bool(take))
    if take:
        gather_rows(w, name, at, table, 0, 1, offset="rope", **take)
    gather_rows(w, name, at + alone * table, table, alone, chunk.chunk - alone, offset="rope")


def gather_rows(w, name, dst, blocks, first, rows, **values):
    """Rows of a region, at once if there is nothing between them."""
    for n, together in pieces_of_rows(w, blocks, rows):
        w.gather("", dst + n * blocks, together * blocks,
                 w.line(name) + (first + n) * w.row_lines(blocks), **values)


def pieces_of_rows(w, blocks, rows):
    """``(first, rows)`` of what one command of the mover moves."""
    together = w.row_lines(blocks) * w.config.line_bytes == 128 * blocks
    return ([(0, rows)] if rows else []) if together else [(n, 1) for n in range(rows)]


def write_residual(w):
    """The residual stream of a chunk to memory: its end is where that of the region is."""
    chunk, dim, lines = w.chunk, w.model.dim_blocks, w.row_lines(w.model.dim_blocks)
    line = residual_end(w) - chunk.chunk * lines
    for n, rows in pieces_of_rows(w, dim, chunk.chunk):
        w.out.emit("scatter", "", a=chunk.parts[0].x + n * dim, blocks=rows * dim,
                   base=line + n * lines)


def residual_end(w):
    region = w.memory.regions["residual"]
    return region.line + region.lines


def write_covered(w):
    """The last layer and the choice for the last token of a prompt, which was in a chunk."""
    out, model, plan, task = w.out, w.model, w.plan, w.task
    dim, table, last = model.dim_blocks, model.table_blocks, len(model.layers) - 1
    lines = w.row_lines(dim)
    if task.sequences:
        out.label("covered")
        out.emit("mul", "tokens of all chunks, negative", rd="row", ra="position", imm=MINUS_ONE)
        write_values(w)
        out.emit("add", "tokens from the end", rd="row", ra="row", rb="position")
        out.emit("mul", "line of the residual stream", rd="row", ra="row", imm=lines)
    else:
        out.emit("set", "the last token", rd="position", imm=task.passed)
        out.emit("set", "line of its rotary row", rd="rope", imm=task.passed * w.row_lines(table))
        out.emit("set", "positions", rd="end", imm=task.positions)
        out.emit("set", "line of its logits", rd="line", imm=0)
        out.emit("set", "line of the residual stream", rd="row",
                 imm=(task.passed - task.filled) * lines & MINUS_ONE)
    w.gather("rotary row of the position", plan.rope_k, table, w.line("rope_k"), offset="rope")
    w.gather("", plan.rope_q, table, w.line("rope_q"), offset="rope")
    w.gather("residual stream", plan.x, dim, residual_end(w), offset="row", take0="x_free",
             raise0="x_ready")
    out.emit("add", "tokens that attention sees", rd="count", ra="position", imm=1)
    w.stream("weights of the last layer", "layers", model.layers[last].matrices,
             behind=matrices_of(model.layers[:last]))
    w.stream("weights of the output matrix", "classifier", chunk_matrices(model, plan))
    out.emit("branch", "the last token", condition="ge", ra="count", rb="end",
             target="covered_layer")
    w.stream_layers("weights of the next token")
    out.label("covered_layer")
    out.emit("set", "lines of gains used", rd="gain", imm=2 * (last + 1) * lines)
    out.emit("set", "line of the layer's keys and values", rd="kv", imm=w.kv[last].line)
    w.raise_appended()
    write_layer_of_token(w, last)
    out.emit("branch", "the choice", condition="eq", ra="zero", rb="zero", target="next")
