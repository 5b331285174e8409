"""Writes what the vector unit, the mover and attention do for a part of a chunk.

The vector unit runs one command at a time, so what it reads of its own results is there. Of each
stage only the first token's commands, or the one command for all, take what a product raises, which
is blocks of its last vector: all others were written before. docs/compiler.md has the counters.
"""

from .chunk_shape import MOST_PERIOD
from .products import row_stride


__all__ = ["write_attends", "write_division", "write_gates", "write_keys_and_values",
           "write_norms", "write_rounding", "write_walk"]


def ready(w, blocks, counter="act"):
    """Say that a product may begin: it takes blocks of all columns at once, which `quantise` raises
    one by one."""
    w.out.mark("a product may begin", w.chunk.groups * blocks, tell=counter)


def quantise(w, comment, a, dst, per_vector, vectors, raise0=0):
    w.quantise(comment, a, dst, vectors * per_vector, take0=0, raise0=raise0,
               per_vector=per_vector, columns=w.chunk.columns)


def write_norms(w, part, gain):
    """Norm of every token; the gain is fetched for the first part, and given back by the last.

    A command for the tokens of a step: while one writes the drain must wait, and with it the array.
    """
    chunk, dim = w.chunk, w.model.dim_blocks
    for step in range(chunk.groups):
        sync = {"take0": 0 if step else "x_ready"}
        if step == 0 and part is chunk.parts[0]:
            sync["take1"] = "gain_ready"
        if step == chunk.groups - 1 and part is chunk.parts[-1]:
            sync["raise1"] = "gain_free"
        first = step * chunk.columns * dim
        w.norm("", gain, dst=part.n + first, a=part.x + first, vectors=chunk.columns, **sync)
    quantise(w, "", part.n, part.vector, dim, chunk.tokens)
    ready(w, dim)


def write_keys_and_values(w, kv, part, queries=True):
    """Keys and values to memory, by way of the staging memory; then queries are rotated, and
    rounded. The last layer has no queries, and nobody waits for its keys."""
    chunk, head = w.chunk, w.model.head_blocks
    write = write_heads if chunk.staged > 1 else write_tokens
    write(w, kv, part, queries)
    if not queries:
        return
    if not w.model.compact:
        quantise(w, "queries", part.o, part.query, head, chunk.tokens * w.model.n_heads, "query")
        return
    size, stride = w.model.n_heads * head, row_stride(w)
    for step in range(chunk.groups):
        w.quantise("queries", dst=part.query + step * size, blocks=chunk.columns * size, take0=0,
                   raise0="query", per_vector=head, columns=chunk.columns,
                   **w.heads_of(part.q + step * chunk.columns * stride, 0, chunk.columns, stride))


def write_heads(w, kv, part, queries):
    """Keys and values lie head by head, so that one command does for many tokens."""
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    size, heads, together = chunk.tokens * head, model.n_kv_heads, chunk.staged
    for n in range(heads):
        for first, number in table_parts(chunk.tokens, head, counted=n == 0):
            at = part.kv + n * size + first * head
            w.out.emit("rope", "keys", dst=at, a=at, b=part.rope_k + first * head,
                       blocks=number * head, period=number * head,
                       take0=0 if n or first else "rows")
    w.out.mark("waits for values", head, take="rows")
    for n in range(chunk.tokens // together):
        for kind, (name, group) in enumerate((("keys", 1), ("values", head))):
            for first, number in ((0, heads),) if together == chunk.tokens else (
                    (k, 1) for k in range(heads)):
                w.stage(name, part.kv + (kind * heads + first) * size + n * together * head,
                        (kind * heads + first) * together * head, group=group,
                        blocks=number * together * head, take0="unstaged")
        append(w, kv, together, queries and (n + 1) * together == chunk.tokens)
    for values in rotate_queries(w, part, head) if queries else ():
        w.out.emit("rope", "queries", **values)


def write_tokens(w, kv, part, queries):
    """Keys and values of a token lie together."""
    out, model, chunk, head = w.out, w.model, w.chunk, w.model.head_blocks
    table, stride = model.table_blocks, row_stride(w, queries)
    rotations = list(rotate_queries(w, part, stride)) if queries else []
    if queries and w.plan.extra and not chunk.split:
        rotations.insert(1 if model.compact else model.n_heads, None)
    for token in range(chunk.tokens):
        k = part.kv + token * stride
        out.emit("rope", "keys", dst=k, a=k, b=part.rope_k + token * table, blocks=model.kv_rows,
                 period=table, take0=0 if token else "rows")
        if token == 0:
            out.mark("waits for values", model.kv_rows, take="rows")
        # Block by block behind `append`, which reads what is staged of the token before.
        if head == 1:
            w.stage("keys and values", k, 0, group=1, blocks=2 * model.kv_blocks, take0="unstaged")
        else:
            w.stage("keys", dst=0, group=1, take0="unstaged", **w.heads_of(k))
            w.stage("values", dst=model.kv_blocks, group=head, take0="unstaged",
                    **w.heads_of(k + model.kv_rows))
        append(w, kv, 1, queries and token == chunk.tokens - 1)
    for values in rotations:
        if values is None:
            out.mark("zeros behind the queries", w.plan.extra, take="rows")
        else:
            out.emit("rope", "queries", **values)
    if not queries and stride > 2 * model.kv_rows:
        out.mark("queries that nobody needs", stride - 2 * model.kv_rows, take="rows")


def append(w, kv, tokens, tell):
    """Keys and values that are staged, to memory; ``tell`` the first step that all are there."""
    w.append(kv, count="next", more=tokens - 1, take0="staged", raise1="unstaged",
             **({"raise0": "appended"} if tell else {}))
    w.out.emit("add", rd="next", ra="next", imm=tokens)


def table_parts(tokens, head, counted):
    """``(first token, tokens)`` of each `rope`, which has its table at once; the first token alone,
    if its blocks are counted."""
    starts = sorted({0, *range(int(counted), tokens, MOST_PERIOD // head)})
    return [(first, end - first) for first, end in zip(starts, [*starts[1:], tokens])]


def rotate_queries(w, part, stride):
    """Fields of the `rope` of all queries; the results lie by steps, heads and tokens."""
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    columns = chunk.columns
    if model.compact:
        # All heads at once, where they are: they lie as the table has them, and are cut afterwards.
        for token in range(chunk.tokens):
            at = part.q + token * stride
            yield dict(dst=at, a=at, b=part.rope_q + token * model.table_blocks,
                       blocks=model.q_rows, period=model.table_blocks, take0=0 if token else "rows")
        return
    if not chunk.split:
        for token in range(chunk.tokens):
            step, column = divmod(token, columns)
            for n in range(model.n_heads):
                yield dict(dst=part.o + ((step * model.n_heads + n) * columns + column) * head,
                           a=part.q + token * stride + n * head, b=part.rope_q + token * head,
                           blocks=head, period=head, take0=0 if token else "rows")
        return
    for step in range(chunk.groups):
        for n in range(model.n_heads):
            # The first token takes the blocks of one vector, which the product has raised.
            for first, number in table_parts(columns, head, counted=step == n == 0):
                token, blocks = step * columns + first, number * head
                yield dict(dst=part.o + ((step * model.n_heads + n) * columns + first) * head,
                           a=part.q + (n * chunk.tokens + token) * head,
                           b=part.rope_q + token * head, blocks=blocks, period=blocks,
                           take0=0 if token or n else "rows")


def write_division(w, part, steps):
    """Attention's output of some steps is divided."""
    blocks = w.chunk.columns * w.model.q_blocks
    if steps:
        divide(w, part.o + steps[0] * blocks, len(steps) * blocks)


def divide(w, at, blocks):
    w.out.emit("divide", "", dst=at, a=at, blocks=blocks, period=w.model.head_blocks,
               take0="attended")


def write_rounding(w, part):
    """Attention's output becomes activations."""
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    if not model.compact:
        quantise(w, "", part.o, part.vector, head, chunk.tokens * model.n_heads)
    else:
        for step in range(chunk.groups):
            for n, blocks, fields in w.joined(model.n_heads, chunk.columns * head):
                at = part.o + (step * model.n_heads + n) * chunk.columns * head
                w.quantise("heads one behind the other", at,
                           part.vector + step * model.q_rows + n * model.head_halves // 2,
                           chunk.columns * blocks, take0=0, raise0=0, per_vector=blocks,
                           columns=chunk.columns, **fields)
    ready(w, model.q_rows)


def write_gates(w, part, piece):
    """The gates of all tokens, of a piece: what it has of the last token is counted, all of the
    others came before. The last piece's activations are behind those of all others."""
    chunk, model = w.chunk, w.model
    hidden, h = model.hidden_blocks // chunk.pieces, chunk.slot(part, piece, model)
    w.out.emit("gate", "", dst=h, a=h, blocks=hidden, take0="rows", take1="rows")
    if chunk.tokens > 1:
        w.out.emit("gate", "", dst=h + hidden, a=h + 2 * hidden,
                   blocks=(chunk.tokens - 1) * hidden)
    if chunk.pieces == 1:
        quantise(w, "", h, part.inner, hidden, chunk.tokens)
    else:
        for group in range(chunk.groups):
            at = part.inner + group * model.hidden_blocks + piece * hidden
            quantise(w, "", h + group * chunk.columns * hidden, at, hidden, chunk.columns)
    if piece + chunk.ring < chunk.pieces:
        # Its product takes activations that are there for want of another way to wait.
        ready(w, model.dim_blocks, "picked")
    if piece == chunk.pieces - 1:
        ready(w, model.hidden_blocks)


def write_walk(w, kv, part, step, number):
    """The walk of attend ``number`` of a step; the first one says what its step sees."""
    chunk = w.chunk
    rounds = w.model.queries // chunk.heads
    head, again = divmod(number, rounds)
    if number == 0:
        w.out.emit("add", "tokens that the step's last one sees", rd="count", ra="position",
                   imm=part.first + (step + 1) * chunk.columns)
    # All tokens of the part are in memory when one step has seen a head of the last one.
    sync = {"take0": "appended"} if step == 0 and not again else {}
    # Not chained over a product, which waits for the last values of the attends before it.
    alone = number == 0 and (step == 0 or step == 1 and part is not chunk.parts[0])
    w.walk(kv, head, span=chunk.columns, chain=int(w.chains and not alone), **sync)


def write_attends(w, kv, part, steps, divided=False):
    """Each step of as many tokens as there are columns attends, head after head.

    If ``divided``, what an attend gave is divided behind the next one: then no more sums wait than
    there is room for, however many attends there are.
    """
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    size, before = chunk.heads * chunk.columns * head, None
    for step in steps:
        for number in range(model.n_heads // chunk.heads):
            # The first one of a layer was dispatched at its beginning.
            if part is not chunk.parts[0] or step or number:
                write_walk(w, kv, part, step, number)
            vector = step * model.n_heads + number * chunk.heads
            w.attend(kv, f"step {step}", dst=part.o + vector * chunk.columns * head,
                     act=part.query + vector * head, columns=chunk.columns, groups=chunk.heads,
                     tokens=1, probability=chunk.probability, take0="query", raise0="attended")
            if divided and before is not None:
                divide(w, before, size)
            before = part.o + vector * chunk.columns * head
    if divided:
        divide(w, before, size)
