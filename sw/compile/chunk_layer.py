"""Writes a layer of a chunk. Each stage is written for one part and then for the other, so that the
array multiplies for one while the vector unit works for the other.

docs/compiler.md says why nothing is overwritten while it is read.
"""

from .products import (
    layer_lines,
    multiply_down,
    multiply_gate_up,
    multiply_keys_and_values,
    multiply_kvq,
    multiply_output,
    stream,
    stream_keys_and_values,
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


__all__ = ["gather_gain", "write_layer", "write_last_layer"]


def write_layer(w, number):
    """One layer, behind its norms of the first part, and those of the next layer. Products need
    what the vector unit makes, and it needs products of before."""
    plan, parts = w.plan, w.chunk.parts
    layer, kv = w.model.layers[number], w.kv[number]

    w.out.emit("add", "next position to append", rd="next", ra="position")
    write_walk(w, kv, parts[0], 0, 0)
    for part in parts:
        stream(w, layer, 0)
        if part is not parts[0]:
            write_norms(w, part, plan.gain[0])
        multiply_kvq(w, part, layer.kvq)
    gather_gain(w, 0)
    write_middle(w, layer, kv)
    write_feed_forward(w, layer)
    gather_gain(w, 1)
    write_norms(w, parts[0], plan.gain[0])
    if len(parts) == 2:
        w.out.emit("add", "the next layer", rd="line", ra="line", imm=layer_lines(w, layer))


def gather_gain(w, number):
    """The next layer's gain of its first or second norm."""
    dim = w.model.dim_blocks
    w.gather("gain of the next layer", w.plan.gain[number], dim,
             w.line("gains") + number * w.row_lines(dim), offset="gain", take0="gain_free",
             raise0="gain_ready")


def write_middle(w, layer, kv):
    """Attention, its output matrix, and the first piece of gate/up. The output matrix of the first
    part comes between steps of the second one, and that of the second one between pieces of gate/up
    of the first: otherwise the array would wait for norms."""
    first, *second = w.chunk.parts
    steps = range(w.chunk.groups)
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
    stream(w, layer, 2, range(1))
    write_norms(w, first, w.plan.gain[1])
    multiply_gate_up(w, first, layer, 0)
    for part in second:
        stream(w, layer, 1)
        write_division(w, part, steps[1:])
        write_rounding(w, part)
        multiply_output(w, part, layer)


def write_feed_forward(w, layer):
    """Gate/up behind the first piece of the first part, the gates, and down.

    Gates of a piece come when the products that follow it have been ordered for which there is room
    in the ring. The second part's norms come behind the first gates, which are ready when the
    vector unit is: the array has the other pieces meanwhile.
    """
    chunk, (first, *second) = w.chunk, w.chunk.parts
    items = [(part, piece) for part in chunk.parts for piece in range(chunk.pieces)]
    behind = chunk.ring if chunk.pieces > 1 else len(items)
    normed = not second
    stream(w, layer, 2, range(1, chunk.pieces))
    for n, (part, piece) in enumerate(items[1:], 1):
        if n >= behind:
            write_gates(w, *items[n - behind])
        if not normed and part is not first:
            write_norms(w, part, w.plan.gain[1])
            normed = True
        if piece == 0:
            stream(w, layer, 2, range(chunk.pieces))
        multiply_gate_up(w, part, layer, piece)
        if not normed and n == behind:
            write_norms(w, *second, w.plan.gain[1])
            normed = True
    rest = items[-behind:]
    for part in chunk.parts:
        for item in rest:
            if item[0] is part:
                write_gates(w, *item)
        stream(w, layer, 3)
        multiply_down(w, part, layer)


def write_last_layer(w, between):
    """The last layer, of which only keys and values are needed, behind its first norms.

    ``between`` are four functions. They write what may be done when the residual stream of the
    first part has been read; when gains and the residual stream of all parts have been; when keys
    of the first part have been rotated, and when all have been.
    """
    plan, parts = w.plan, w.chunk.parts
    layer, kv = w.model.layers[-1], w.kv[-1]
    w.out.emit("add", "next position to append", rd="next", ra="position")
    for part in parts:
        stream_keys_and_values(w, layer)
        if part is not parts[0]:
            write_norms(w, part, plan.gain[0])
        multiply_keys_and_values(w, part, layer.kvq)
        if part is parts[0]:
            between[0]()
    w.out.mark("gives back the other gain", w.model.dim_blocks, take="gain_ready", tell="gain_free")
    between[1]()
    for part in parts:
        write_keys_and_values(w, kv, part, queries=False)
        if part is not parts[-1]:
            between[2]()
    between[3]()
