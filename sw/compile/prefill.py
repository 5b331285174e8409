"""Writes what a prompt passes through before its last token: the model, a chunk at a time.

A chunk (:class:`sw.compile.chunks.ChunkPlan`) is one part or two. Each stage of a layer is written
for one part and then for the other, so that the array multiplies for one while the vector unit
works for the other. docs/compiler.md says why nothing is overwritten while it is read.
"""

from .layer import write_all_layers
from .products import (
    layer_lines,
    multiply_down,
    multiply_gate_up,
    multiply_kvq,
    multiply_output,
    stream,
)
from .stages import (
    write_attends,
    write_division,
    write_gates,
    write_keys_and_values,
    write_norms,
    write_rounding,
    write_walk,
)


__all__ = ["write_prefill"]


def write_prefill(w):
    """All chunks of a task; keys and values of their tokens are in memory afterwards."""
    out, model, chunk = w.out, w.model, w.chunk
    if not w.task.sequences:
        out.emit("set", "tokens of all chunks", rd="end", imm=w.task.filled)
    out.label("chunk")
    write_tokens(w)
    out.emit("set", "lines of gains used", rd="gain", imm=2 * w.row_lines(model.dim_blocks))
    out.emit("set", "line of the layer's keys and values", rd="kv", imm=0)
    if len(chunk.parts) == 1:
        w.stream_layers("weights of all layers")
    else:
        out.emit("set", "line of the layer's weights", rd="line", imm=0)
    write_all_layers(w, "chunk_layer", write_layer)
    for part in chunk.parts:
        out.emit("multiply", "only to wait for the last layer", dst=part.x, a=part.x, b=part.x,
                 blocks=model.dim_blocks, take0="x_ready")
    out.emit("add", rd="position", ra="position", imm=chunk.chunk)
    for register, blocks in (("rope", model.head_blocks), ("row", model.dim_blocks)):
        out.emit("add", rd=register, ra=register, imm=chunk.chunk * w.row_lines(blocks))
    out.emit("sync", "before workspace and registers are used again")
    out.emit("branch", condition="lt", ra="position", rb="end", target="chunk")


def write_tokens(w):
    """Rotary rows and embeddings of a chunk."""
    model, chunk = w.model, w.chunk
    head, dim = model.head_blocks, model.dim_blocks
    for part in chunk.parts:
        gather_rows(w, "rope_k", part.rope_k, head, part.first, chunk.tokens, offset="rope")
        gather_rows(w, "rope_q", part.rope_q, head, part.first, chunk.tokens, offset="rope")
    for part in chunk.parts:
        # The last row says that all are there.
        gather_rows(w, "prompt_rows", part.x, dim, part.first, chunk.tokens - 1, offset="row")
        gather_rows(w, "prompt_rows", part.x + (chunk.tokens - 1) * dim, dim,
                    part.first + chunk.tokens - 1, 1, offset="row", raise0="x_ready")


def gather_rows(w, name, dst, blocks, first, rows, **values):
    """Rows of a region, at once if there is nothing between them."""
    lines = w.row_lines(blocks)
    together = rows if lines * w.config.line_bytes == 128 * blocks else 1
    for n in range(0, rows, together or 1):
        w.gather("", dst + n * blocks, together * blocks, w.line(name) + (first + n) * lines,
                 **values)


def write_layer(w, number):
    """One layer. Products need what the vector unit makes, and it needs products of before."""
    model, plan, parts = w.model, w.plan, w.chunk.parts
    layer, kv, line = model.layers[number], w.kv[number], w.row_lines(model.dim_blocks)

    w.out.emit("add", "next position to append", rd="next", ra="position")
    write_walk(w, kv, parts[0], 0, 0)
    for part in parts:
        stream(w, layer, 0)
        write_norms(w, part, plan.gain[0])
        multiply_kvq(w, part, layer.kvq)
    w.gather("gain of the next layer", plan.gain[0], model.dim_blocks, w.line("gains"),
             offset="gain", take0="gain_free", raise0="gain_ready")
    write_middle(w, layer, kv)
    w.gather("gain of the next layer", plan.gain[1], model.dim_blocks, w.line("gains") + line,
             offset="gain", take0="gain_free", raise0="gain_ready")
    for part in parts:
        stream(w, layer, 3)
        write_gates(w, part)
        multiply_down(w, part, layer)
    if len(parts) == 2:
        w.out.emit("add", "the next layer", rd="line", ra="line", imm=layer_lines(w, layer))


def write_middle(w, layer, kv):
    """Attention, its output matrix, and gate/up. The output matrix of the first part comes between
    steps of the second one, and that of the second one between pieces of gate/up of the first:
    otherwise the array would wait for norms."""
    first, *second = w.chunk.parts
    steps, pieces = range(w.chunk.groups), range(w.chunk.pieces)
    write_keys_and_values(w, kv, first)
    write_attends(w, kv, first, steps, divided=not second)
    for part in second:
        write_keys_and_values(w, kv, part)
        write_attends(w, kv, part, steps[:1])
    stream(w, layer, 1)
    if second:
        write_division(w, first, steps)
    write_rounding(w, first)
    multiply_output(w, first, layer)
    for part in second:
        write_attends(w, kv, part, steps[1:])
        # Sums of the steps so far must not wait for norms, which wait for the output matrix.
        write_division(w, part, steps[:1])
    stream(w, layer, 2, pieces[:1])
    write_norms(w, first, w.plan.gain[1])
    multiply_gate_up(w, first, layer, pieces[:1])
    for part in second:
        stream(w, layer, 1)
        write_division(w, part, steps[1:])
        write_rounding(w, part)
        multiply_output(w, part, layer)
    stream(w, layer, 2, pieces[1:])
    multiply_gate_up(w, first, layer, pieces[1:])
    for part in second:
        stream(w, layer, 2, pieces)
        write_norms(w, part, w.plan.gain[1])
        multiply_gate_up(w, part, layer, pieces)
