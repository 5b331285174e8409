"""Writes the products of a part of a chunk, and orders their weights."""

from verif.reference.tape import tape_beats

from .chunks import tile_rows


__all__ = ["layer_lines", "multiply_down", "multiply_gate_up", "multiply_kvq", "multiply_output",
           "stream"]


def matmul(w, comment, matrix, **values):
    w.matmul(comment, matrix, columns=w.chunk.columns, groups=w.chunk.groups, **values)


def beats_of(w, matrix):
    return tape_beats(matrix.weights.shape, matrix.format, w.config.slices)


def lines_of(w, beats):
    return beats * w.config.beat_bytes // w.config.line_bytes


def stream(w, layer, number, pieces=None):
    """Order a matrix of a layer for one of two parts, or some of its equal pieces."""
    if len(w.chunk.parts) == 1 or pieces is not None and not pieces:
        return
    matrix = layer.matrices[number]
    before = sum(beats_of(w, other) for other in layer.matrices[:number])
    beats = beats_of(w, matrix)
    if pieces is not None:
        piece = beats // w.chunk.pieces
        before, beats = before + pieces[0] * piece, len(pieces) * piece
    w.out.emit("stream", "weights", stream="w", base=w.line("layers") + lines_of(w, before),
               offset="line", beats=beats)


def layer_lines(w, layer):
    """Lines of all matrices of a layer, each of which ends at one."""
    return sum(lines_of(w, beats_of(w, matrix)) for matrix in layer.matrices)


def multiply_output(w, part, layer):
    matmul(w, "attention's output matrix", layer.output, dst=part.x, act=part.vector,
           stride=w.model.dim_blocks, drain="add", take0="act", raise0="x_ready")


def multiply_down(w, part, layer):
    matmul(w, "down", layer.down, dst=part.x, act=part.inner, stride=w.model.dim_blocks,
           drain="add", take0="act", raise0="x_ready")


def multiply_gate_up(w, part, layer, pieces):
    """Gate and up, piece by piece, so that gates of one are computed during the next."""
    chunk, blocks = w.chunk, 2 * w.model.hidden_blocks // w.chunk.pieces
    for piece in pieces:
        tiles = {} if chunk.pieces == 1 else {
            "tiles": 32 * blocks // tile_rows(layer.gate_up, w.config)}
        matmul(w, "gate and up", layer.gate_up, dst=part.h + piece * chunk.tokens * blocks,
               act=part.vector, stride=blocks, raise0="rows",
               **({} if piece else {"take0": "act"}), **tiles)


def multiply_kvq(w, part, matrix):
    """Keys, values and queries token by token, or head by head; of each the last product counts."""
    model, chunk, head = w.model, w.chunk, w.model.head_blocks
    if not chunk.split:
        matmul(w, "keys, values, queries", matrix, dst=part.kv, act=part.vector,
               stride=len(matrix.weights) // 32, take0="act", raise0="rows")
        return
    kinds = ([("keys", model.n_kv_heads, head), ("values", model.n_kv_heads, head)]
             if chunk.staged > 1 else [("keys and values", 1, 2 * model.kv_blocks)])
    at = part.kv
    for name, number, blocks in (*kinds, ("queries", model.n_heads, head)):
        for n in range(number):
            sync = {"take0": "act"} if at == part.kv else {}
            if n == number - 1:
                sync["raise0"] = "rows"
            matmul(w, f"{name}, {n}", matrix, dst=at, act=part.vector, stride=blocks,
                   tiles=32 * blocks // tile_rows(matrix, w.config), **sync)
            at += chunk.tokens * blocks
