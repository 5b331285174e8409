"""Writes what a prompt passes through before its last token: the model, a chunk at a time.

A chunk (:class:`sw.compile.chunks.ChunkPlan`) is one part or two. Each stage of a layer is written
for one part and then for the other, so that the array multiplies for one while the vector unit
works for the other. docs/compiler.md says why nothing is overwritten while it is read.
"""

from verif.reference.tape import tape_beats, tiling

from .chunks import MOST_PERIOD
from .layer import write_all_layers


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
    """One layer. Products of a stage need its vectors, which need products of the stage before."""
    model, plan, parts = w.model, w.plan, w.chunk.parts
    layer, kv, line = model.layers[number], w.kv[number], w.row_lines(model.dim_blocks)

    w.out.emit("add", "next position to append", rd="next", ra="position")
    write_walk(w, kv, parts[0], 0, 0)
    stream_twice(w, layer, 0)
    for part in parts:
        write_norms(w, part, plan.gain[0])
        multiply_kvq(w, part, layer.kvq)
    w.gather("gain of the next layer", plan.gain[0], model.dim_blocks, w.line("gains"),
             offset="gain", take0="gain_free", raise0="gain_ready")
    stream_twice(w, layer, 1)
    for part in parts:
        write_keys_and_values(w, kv, part)
        write_attends(w, kv, part)
    for part in parts:
        write_outputs(w, part)
        matmul(w, "attention's output matrix", layer.output, dst=part.x, act=part.vector,
               stride=model.dim_blocks, drain="add", take0="act", raise0="x_ready")
    stream_twice(w, layer, 2)
    for part in parts:
        write_norms(w, part, plan.gain[1])
        matmul(w, "gate and up", layer.gate_up, dst=part.h, act=part.vector,
               stride=2 * model.hidden_blocks, take0="act", raise0="rows")
    w.gather("gain of the next layer", plan.gain[1], model.dim_blocks, w.line("gains") + line,
             offset="gain", take0="gain_free", raise0="gain_ready")
    stream_twice(w, layer, 3)
    for part in parts:
        write_gates(w, part)
        matmul(w, "down", layer.down, dst=part.x, act=part.inner, stride=model.dim_blocks,
               drain="add", take0="act", raise0="x_ready")
    if len(parts) == 2:
        w.out.emit("add", "the next layer", rd="line", ra="line", imm=sum(
            matrix_lines(w, matrix) for matrix in layer.matrices))


# Products

def matmul(w, comment, matrix, **values):
    w.matmul(comment, matrix, columns=w.chunk.columns, groups=w.chunk.groups, **values)


def matrix_lines(w, matrix):
    beats = tape_beats(matrix.weights.shape, matrix.format, w.config.slices)
    return beats * w.config.beat_bytes // w.config.line_bytes


def stream_twice(w, layer, number):
    """Order a matrix for each of two parts."""
    if len(w.chunk.parts) == 1:
        return
    before, matrix = layer.matrices[:number], layer.matrices[number]
    base = w.line("layers") + sum(matrix_lines(w, other) for other in before)
    for _ in w.chunk.parts:
        w.out.emit("stream", "weights", stream="w", base=base, offset="line",
                   beats=tape_beats(matrix.weights.shape, matrix.format, w.config.slices))


def multiply_kvq(w, part, matrix):
    """Keys and values token by token; queries token by token, or head by head."""
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    if not chunk.split:
        matmul(w, "keys, values, queries", matrix, dst=part.kv, act=part.vector,
               stride=len(matrix.weights) // 32, take0="act", raise0="rows")
        return
    _, height, _ = tiling(len(matrix.weights), w.config.slices, matrix.format)
    tiles = 32 * head // (height * w.config.slices)
    matmul(w, "keys and values", matrix, dst=part.kv, act=part.vector, stride=2 * model.kv_blocks,
           tiles=2 * model.n_kv_heads * tiles, take0="act", raise0="rows")
    for n in range(model.n_heads):
        last = {"raise0": "rows"} if n == model.n_heads - 1 else {}
        matmul(w, f"queries of head {n}", matrix, dst=part.q + n * chunk.tokens * head,
               act=part.vector, stride=head, tiles=tiles, **last)


# What the vector unit does. It runs one command at a time, so what it reads of its own is there.

def ready(w, at, blocks):
    """Say that a product may begin: it takes blocks of all columns at once, which `quantise` raises
    one by one. What lies at ``at`` is used up."""
    w.out.emit("multiply", "only to raise", dst=at, a=at, b=at, blocks=w.chunk.groups * blocks,
               raise0="act")


def quantise(w, comment, a, dst, per_vector, vectors, raise0=0):
    w.quantise(comment, a, dst, vectors * per_vector, take0=0, raise0=raise0,
               per_vector=per_vector, columns=w.chunk.columns)


def write_norms(w, part, gain):
    """Norm of every token; the gain is fetched for the first, and given back by the last."""
    chunk, dim = w.chunk, w.model.dim_blocks
    for token in range(chunk.tokens):
        sync = {"take0": 0}
        if token == 0:
            sync = {"take0": "x_ready"}
            if part is chunk.parts[0]:
                sync["take1"] = "gain_ready"
        if token == chunk.tokens - 1 and part is chunk.parts[-1]:
            sync["raise1"] = "gain_free"
        w.norm("", gain, dst=part.n + token * dim, a=part.x + token * dim, **sync)
    quantise(w, "", part.n, part.vector, dim, chunk.tokens)
    ready(w, part.n, dim)


def write_keys_and_values(w, kv, part):
    """Keys and values of each token to memory, by way of the staging memory, which holds one
    token; between them queries are rotated. Queries are rounded last."""
    out, model, chunk, head = w.out, w.model, w.chunk, w.model.head_blocks
    stride = 2 * model.kv_blocks + (0 if chunk.split else model.q_blocks + w.plan.extra)
    rotations = list(rotate_queries(w, part, stride))
    each = -(-len(rotations) // chunk.tokens)
    for token in range(chunk.tokens):
        k = part.kv + token * stride
        out.emit("rope", "keys", dst=k, a=k, b=part.rope_k + token * head, blocks=model.kv_blocks,
                 period=head, take0=0 if token else "rows")
        if token == 0:
            out.emit("multiply", "only to wait for values", dst=part.o, a=part.o, b=part.o,
                     blocks=model.kv_blocks, take0="rows")
        # Block by block behind `append`, which reads what is staged of the token before.
        if head == 1:
            w.stage("keys and values", k, 0, group=1, blocks=2 * model.kv_blocks, take0="unstaged")
        else:
            w.stage("keys", k, 0, group=1, take0="unstaged")
            w.stage("values", k + model.kv_blocks, model.kv_blocks, group=head, take0="unstaged")
        if w.plan.extra and not chunk.split and token == 0:
            rotations.insert(model.n_heads, dict(take0="rows", blocks=w.plan.extra))
        last = {"raise0": "appended"} if token == chunk.tokens - 1 else {}
        w.append(kv, count="next", take0="staged", raise1="unstaged", **last)
        out.emit("add", rd="next", ra="next", imm=1)
        for values in rotations[token * each:(token + 1) * each]:
            emit_rotation(w, part, values)
    for values in rotations[chunk.tokens * each:]:
        emit_rotation(w, part, values)
    quantise(w, "queries", part.o, part.query, head, chunk.tokens * model.n_heads, "query")


def emit_rotation(w, part, values):
    """A `rope` of queries; without a table, what only takes the blocks behind the queries."""
    if "b" in values:
        w.out.emit("rope", "queries", **values)
    else:
        zeros = part.q + w.model.q_blocks
        w.out.emit("multiply", "zeros", dst=zeros, a=zeros, b=zeros, **values)


def rotate_queries(w, part, stride):
    """Fields of the `rope` of all queries; the results lie by steps, heads and tokens."""
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    columns = chunk.columns
    if not chunk.split:
        for token in range(chunk.tokens):
            step, column = divmod(token, columns)
            for n in range(model.n_heads):
                yield dict(dst=part.o + ((step * model.n_heads + n) * columns + column) * head,
                           a=part.q + token * stride + n * head, b=part.rope_q + token * head,
                           blocks=head, period=head, take0=0 if token else "rows")
        return
    most = MOST_PERIOD // head
    for step in range(chunk.groups):
        for n in range(model.n_heads):
            # The first token takes the blocks of one vector, which the product has raised.
            starts = [0, *range(int(step == n == 0), columns, most)]
            starts = sorted(set(starts))
            for first, end in zip(starts, [*starts[1:], columns]):
                token, blocks = step * columns + first, (end - first) * head
                yield dict(dst=part.o + ((step * model.n_heads + n) * columns + first) * head,
                           a=part.q + (n * chunk.tokens + token) * head,
                           b=part.rope_q + token * head, blocks=blocks, period=blocks,
                           take0=0 if token or n else "rows")


def write_outputs(w, part):
    """Attention's output is divided and rounded."""
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    vectors = chunk.tokens * model.n_heads
    w.out.emit("divide", "", dst=part.o, a=part.o, blocks=vectors * head, period=head,
               take0="attended")
    quantise(w, "", part.o, part.vector, head, vectors)
    ready(w, part.o, model.q_blocks)


def write_gates(w, part):
    """The gate of all tokens; blocks of the last one are counted, all others came before."""
    chunk, hidden = w.chunk, w.model.hidden_blocks
    w.out.emit("gate", "", dst=part.h, a=part.h, blocks=hidden, take0="rows", take1="rows")
    if chunk.tokens > 1:
        w.out.emit("gate", "", dst=part.h + hidden, a=part.h + 2 * hidden,
                   blocks=(chunk.tokens - 1) * hidden)
    quantise(w, "", part.h, part.inner, hidden, chunk.tokens)
    ready(w, part.h, hidden)


# Attention

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
    w.walk(kv, head, span=chunk.columns, chain=int(w.chains and (step or number) != 0), **sync)


def write_attends(w, kv, part):
    """Each step of as many tokens as there are columns attends, head after head."""
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    for step in range(chunk.groups):
        for number in range(model.n_heads // chunk.heads):
            # The first one of a layer was dispatched at its beginning.
            if part is not chunk.parts[0] or step or number:
                write_walk(w, kv, part, step, number)
            vector = step * model.n_heads + number * chunk.heads
            w.attend(kv, f"step {step}", dst=part.o + vector * chunk.columns * head,
                     act=part.query + vector * head, columns=chunk.columns, groups=chunk.heads,
                     tokens=1, probability=chunk.probability, take0="query", raise0="attended")
