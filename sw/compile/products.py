"""Writes the products of a part of a chunk, and orders their weights."""

from verif.reference.tape import tape_beats

from .chunk_shape import tile_rows
from .layers import matrices_of


__all__ = ["layer_lines", "multiply_down", "multiply_gate_up", "multiply_keys_and_values",
           "multiply_kvq", "multiply_output", "row_stride", "stream", "stream_chunk",
           "stream_keys_and_values"]


def matmul(w, comment, matrix, **values):
    w.matmul(comment, matrix, columns=w.chunk.columns, groups=w.chunk.groups, **values)


def stream(w, layer, number, pieces=None):
    """Order a matrix of a layer for one of two parts, or some of its equal pieces."""
    if len(w.chunk.parts) == 1 or pieces is not None and not pieces:
        return
    matrix = layer.matrices[number]
    before, beats = w.beats(layer.matrices[:number]), w.beats([matrix])
    if pieces is not None:
        piece = beats // w.chunk.pieces
        before, beats = before + pieces[0] * piece, len(pieces) * piece
    w.out.emit("stream", "weights", stream="w", base=w.line("layers") + w.lines_of(before),
               offset="line", beats=beats)


def stream_chunk(w):
    """Order all matrices of a chunk of one part: of the last layer, keys and values."""
    *layers, last = w.model.layers
    beats = w.beats(matrices_of(layers))
    w.out.emit("stream", "weights of all layers", stream="w", base=w.line("layers"),
               beats=beats + beats_of_keys_and_values(w, last.kvq))


def stream_keys_and_values(w, layer):
    """Order what the last layer needs, for one of two parts."""
    if len(w.chunk.parts) == 2:
        w.out.emit("stream", "keys and values", stream="w", base=w.line("layers"), offset="line",
                   beats=beats_of_keys_and_values(w, layer.kvq))


def beats_of_keys_and_values(w, matrix):
    rows, size = matrix.weights.shape
    if not keys_apart(w, matrix):
        return matrix.beats(w.config.slices)
    rows, tile = 2 * 32 * w.model.kv_rows, tile_rows(matrix, w.config)
    height = tile // w.config.slices
    return tape_beats((rows, size), matrix.format, w.config.slices, (rows // tile, height, height))


def keys_apart(w, matrix):
    """Whether keys and values are whole tiles of the matrix, and a product of their own."""
    return matrix.factor is None and 2 * 32 * w.model.kv_rows % tile_rows(matrix, w.config) == 0


def row_stride(w, queries=True):
    """Blocks from the keys of a token to those of the next one; ``queries``: whether the layer
    has some."""
    model = w.model
    apart = w.chunk.split if queries else keys_apart(w, model.layers[-1].kvq)
    return 2 * model.kv_rows + (0 if apart else model.q_rows + w.plan.extra)


def layer_lines(w, layer):
    """Lines of all matrices of a layer, each of which ends at one."""
    return w.lines_of(w.beats(layer.matrices))


def multiply_output(w, part, layer):
    matmul(w, "attention's output matrix", layer.output, dst=part.x, act=part.vector,
           stride=w.model.dim_blocks, drain="add", take0="act", raise0="x_ready")


def multiply_down(w, part, layer):
    matmul(w, "down", layer.down, dst=part.x, act=part.inner, stride=w.model.dim_blocks,
           drain="add", take0="act", raise0="x_ready")


def multiply_gate_up(w, part, layer, piece):
    """A piece of gate and up. What the ring has no room for waits for the gates of the piece that
    lies there."""
    chunk, blocks = w.chunk, 2 * w.model.hidden_blocks // w.chunk.pieces
    tiles = {} if chunk.pieces == 1 else {
        "tiles": 32 * blocks // tile_rows(layer.gate_up, w.config)}
    sync = {} if piece else {"take0": "act"}
    if piece >= chunk.ring:
        sync = {"take0": "picked"}
    matmul(w, "gate and up", layer.gate_up, dst=chunk.slot(part, piece, w.model),
           act=part.vector, stride=blocks, raise0="rows", **sync, **tiles)


def multiply_keys_and_values(w, part, matrix):
    """Keys and values, without queries if that can be."""
    if w.chunk.staged > 1:
        multiply_heads(w, part, matrix, keys_and_values(w))
        return
    tiles = {}
    if keys_apart(w, matrix):
        tiles["tiles"] = 2 * 32 * w.model.kv_rows // tile_rows(matrix, w.config)
    matmul(w, "keys and values", matrix, dst=part.kv, act=part.vector,
           stride=row_stride(w, queries=False), take0="act", raise0="rows", **tiles)


def multiply_kvq(w, part, matrix):
    """Keys and values token by token, or head by head if many are staged together; queries
    likewise."""
    model = w.model
    if not w.chunk.split:
        matmul(w, "keys, values, queries", matrix, dst=part.kv, act=part.vector,
               stride=row_stride(w), take0="act", raise0="rows")
        return
    multiply_heads(w, part, matrix, [
        *(keys_and_values(w) if w.chunk.staged > 1 else [("keys and values", 1,
                                                          2 * model.kv_blocks)]),
        ("queries", model.n_heads, model.head_blocks)])


def keys_and_values(w):
    """As :func:`multiply_heads` has them."""
    model = w.model
    return [(name, model.n_kv_heads, model.head_blocks) for name in ("keys", "values")]


def multiply_heads(w, part, matrix, kinds):
    """Products of their own, one behind the other: ``(name, number, blocks)`` of each kind. The
    last one of a kind raises blocks of its last vector; all but queries begin where keys do."""
    at = part.kv
    for name, number, blocks in kinds:
        if name == "queries":
            at = part.q
        for n in range(number):
            sync = {} if name != kinds[0][0] or n else {"take0": "act"}
            if n == number - 1:
                sync["raise0"] = "rows"
            matmul(w, f"{name}, {n}", matrix, dst=at, act=part.vector, stride=blocks,
                   tiles=32 * blocks // tile_rows(matrix, w.config), **sync)
            at += w.chunk.tokens * blocks
