"""Writes the layers of one token: loops over layers that run the same instructions."""

from . import sparse
from .writer import MINUS_ONE


__all__ = ["write_all_layers", "write_layer"]


def alike(w, number):
    """What layers have in common that run the same instructions."""
    kv = w.kv[number]
    return ([matrix.format for matrix in w.model.layers[number].matrices], kv.sees, kv.ring,
            kv.head_lines)


def runs_of_layers(kinds):
    """``(first layer, layers)`` of each run of layers of the same kind."""
    starts = [n for n, kind in enumerate(kinds) if not n or kind != kinds[n - 1]]
    return [(start, end - start) for start, end in zip(starts, [*starts[1:], len(kinds)])]


def repeats(runs, kinds):
    """``(runs, rounds)`` at the beginning: what is repeated, and how often; it saves most."""
    shapes = [(kinds[first], layers) for first, layers in runs]
    best = runs[:1], 1
    for size in range(1, len(runs) // 2 + 1):
        rounds = 1
        while shapes[rounds * size:(rounds + 1) * size] == shapes[:size]:
            rounds += 1
        if size * (rounds - 1) > len(best[0]) * (best[1] - 1):
            best = runs[:size], rounds
    return best


def write_all_layers(w, name, write, layers=None):
    """Loops over layers of the same kind, and over runs of them that are repeated.

    ``write(w, number)`` writes a layer; labels begin with ``name``. Of all layers the first
    ``layers`` may be written alone.
    """
    layers = len(w.model.layers) if layers is None else layers
    kinds = [alike(w, number) for number in range(layers)]
    runs, number = runs_of_layers(kinds), 0
    while runs:
        some, rounds = repeats(runs, kinds)
        rest = runs[rounds * len(some):]
        # The loop may be left in the middle of a round, if the rest is its beginning.
        half = len(rest) if 0 < len(rest) < len(some) and all(
            same(kinds, *pair) for pair in zip(rest, some)) else 0
        label = f"{name}s_{number}"
        if rounds > 1:
            w.out.emit("set", "runs of layers to go", rd="round", imm=rounds)
            w.out.label(label)
        for place, (first, layers) in enumerate(some, 1):
            write_loop(w, name if number == 0 else f"{name}_{number}", first, layers, write)
            number += 1
            if rounds > 1 and place == half:
                w.out.emit("branch", "all layers are done", condition="eq", ra="round", rb="zero",
                           target=f"{label}_end")
        if rounds > 1 and half:
            w.out.emit("add", rd="round", ra="round", imm=MINUS_ONE)
            w.out.emit("branch", condition="eq", ra="zero", rb="zero", target=label)
            w.out.label(f"{label}_end")
            rest = []
        elif rounds > 1:
            w.count_down("round", label)
        runs = rest


def same(kinds, one, other):
    """Whether two runs are of as many layers of one kind."""
    return kinds[one[0]] == kinds[other[0]] and one[1] == other[1]


def write_loop(w, label, first, layers, write):
    """A loop over layers that are alike; addresses are in registers."""
    w.out.emit("set", "layers to go", rd="layer", imm=layers)
    w.out.label(label)
    write(w, first)
    w.out.emit("add", "the next layer", rd="gain", ra="gain",
               imm=2 * w.row_lines(w.model.dim_blocks))
    w.out.emit("add", rd="kv", ra="kv", imm=w.kv[first].lines)
    w.count_down("layer", label)


def write_layer(w, number):
    """A layer, for one token."""
    out, model, plan = w.out, w.model, w.plan
    dim, line = model.dim_blocks, w.row_lines(model.dim_blocks)
    layer, kv = model.layers[number], w.kv[number]
    chooses = kv.sees.sparse is not None

    if chooses:
        sparse.write_early(w, kv, number)
    else:
        w.walk(kv, 0, take0="appended", forward=int(w.forwards))
    w.norm("attention", plan.gain[0], take1="gain_ready", raise0="done", raise1="gain_free")
    w.quantise("", plan.n, plan.vector, dim)
    w.gather("gain of the next layer", plan.gain[0], dim, w.line("gains"), offset="gain",
             take0="gain_free", raise0="gain_ready")
    w.matmul("keys, values, queries", layer.kvq, dst=plan.rows, act=plan.vector,
             take0="act", raise0="rows")
    write_keys_and_values(w, kv)
    if chooses:
        sparse.write_parts(w)
        sparse.write_bounds(w, kv, number)
    write_attention(w, kv)
    if w.forwards:
        write_unstaged(w)
    if chooses:
        sparse.write_kept(w)
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


def write_keys_and_values(w, kv):
    """Rotates and rounds keys, values and queries; keys and values go to memory."""
    out, model, plan = w.out, w.model, w.plan
    k, v, q = (plan.rows + n * model.kv_rows for n in range(3))
    head, table = model.head_blocks, model.table_blocks
    out.emit("rope", "keys", dst=k, a=k, b=plan.rope_k, blocks=model.kv_rows, period=table,
             take0="rows", raise0=w.done)
    w.stage("keys", dst=0, group=1, take0=w.done, **w.heads_of(k))
    if model.compact:
        out.mark("waits for values", model.kv_rows, take="rows")
    w.stage("values", dst=model.kv_blocks, group=head, take0=0 if model.compact else "rows",
            **w.heads_of(v))
    w.append(kv, take0="staged", raise0="appended",
             **({"raise1": "unstaged"} if w.forwards else {}))
    out.emit("rope", "queries", dst=q, a=q, b=plan.rope_q, blocks=model.q_rows, period=table,
             take0="rows", raise0=w.done)
    w.quantise("queries of a KV head lie in columns", dst=plan.query, blocks=model.q_blocks,
               take0=w.done, raise0=0 if kv.sees.sparse else "query", per_vector=head,
               columns=plan.columns, **w.heads_of(q))
    if plan.extra:
        # The tiles' rows beyond the queries are zeros, and nobody else takes their blocks.
        out.mark("zeros behind the queries", plan.extra, take="rows")


def write_unstaged(w):
    """The next layer's keys and values are staged when the mover has read those of this one."""
    k = w.plan.rows
    w.out.emit("multiply", "only to wait until they are read; keys and values were used", dst=k,
               a=k, b=k, blocks=2 * w.model.kv_blocks, take0="unstaged")


def write_attention(w, kv):
    """Each group of query heads that fits the columns attends, and its output is rounded as soon as
    there are whole blocks."""
    out, model, plan = w.out, w.model, w.plan
    head, together = model.head_blocks, plan.columns * plan.groups
    blocks = together * head
    rounds, number = model.queries // together, model.n_heads // together
    chooses = kv.sees.sparse is not None
    rounded = 0
    if chooses:
        sparse.write_select(w, kv, 0)
    for n in range(number):
        kv_head, again = divmod(n, rounds)
        if chooses and n + 1 < number:
            # Pages are chosen while the heads before attend.
            sparse.write_select(w, kv, n + 1)
        if n or chooses:
            # Else the walk was dispatched at the beginning of the layer.
            w.walk(kv, kv_head, chain=int(w.chains and not chooses), forward=int(w.forwards),
                   **({} if again else {"take0": "appended"}))
        staged = {"heads": model.n_kv_heads, "head": kv_head} if w.forwards else {}
        w.attend(kv, f"query heads {n * together}..{(n + 1) * together - 1}",
                 dst=plan.o + n * blocks, act=plan.query + n * plan.groups * head,
                 columns=plan.columns, groups=plan.groups, take0=0 if chooses else "query",
                 raise0="attended", **staged)
        out.emit("divide", "", dst=plan.o + n * blocks, a=plan.o + n * blocks, blocks=blocks,
                 period=head, take0="attended", raise0=w.done)
        divided = (n + 1) * together
        if n == number - 1 or (divided - rounded) * model.head_halves % 2 == 0:
            write_rounding(w, rounded, divided - rounded)
            rounded = divided


def write_rounding(w, first, heads):
    """Attention's output of some heads becomes activations, one head behind the other."""
    model, plan = w.model, w.plan
    for n, blocks, fields in w.joined(heads):
        w.quantise("", plan.o + (first + n) * model.head_blocks,
                   plan.vector + (first + n) * model.head_halves // 2, blocks, take0=w.done,
                   **fields)
