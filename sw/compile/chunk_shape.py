"""The shape of a chunk of the prompt: how many tokens, and where all of them lies on the die.

A chunk is one part, or two parts that take turns: while the array multiplies for one, the vector
unit works for the other. docs/compiler.md gives the order, and why regions may share room.
"""

from dataclasses import dataclass

from hw.formats import FORMATS
from verif.reference.tape import tiling

from .estimate import chunk_cycles, heads_of_chunk


__all__ = ["MOST_GROUPS", "MOST_PERIOD", "ChunkPlan", "Part", "chunk_plan", "pieces_of", "repeats",
           "splits", "tile_rows", "whole_lines"]

#: Largest count of blocks and of groups in a command, largest table of ``rope``, and most tokens of
#: an ``append``.
MOST_BLOCKS, MOST_GROUPS, MOST_PERIOD, MOST_APPENDED = 4095, 255, 15, 16

#: Blocks of gates for which a product of their own is worth while.
LEAST_PIECE = 4


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where the tokens of a part lie.

    Parameters
    ----------
    first : int
        Number of its first token in the chunk.
    x, n, kv, q, o, h : int
        Workspace blocks: residual stream and normed vectors, token by token; keys and values, and
        queries, as products give them; rotated queries, which attention's output
        replaces, in the order of attention; gate and up. All but ``x`` share room.
    rope_k, rope_q : int
        Rotary rows.
    vector, inner, query : int
        Activation blocks, as in :class:`sw.compile.plan.Plan`.
    """

    first: int
    x: int
    n: int
    kv: int
    q: int
    o: int
    h: int
    rope_k: int
    rope_q: int
    vector: int
    inner: int
    query: int


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """Sizes of a chunk, and its parts.

    Parameters
    ----------
    columns, groups : int
        Of products: a part has ``columns * groups`` tokens, and attends in steps of ``columns``.
    heads : int
        Query heads that attend together.
    split : bool
        Queries of each head are products of their own.
    staged : int
        Tokens whose keys and values are staged and appended together. If there are several, keys
        and values of each head are products of their own too.
    pieces, ring : int
        Products that gate and up are, and results of how many there is room for.
    parts : tuple of :class:`Part`
    probability : int
        First activation block of probabilities.
    cycles : float
        About so many it takes.
    """

    columns: int
    groups: int
    heads: int
    split: bool
    staged: int
    pieces: int
    ring: int
    parts: tuple
    probability: int
    cycles: float

    @property
    def tokens(self):
        """Tokens of a part."""
        return self.columns * self.groups

    @property
    def chunk(self):
        """Tokens of a chunk."""
        return self.tokens * len(self.parts)

    def slot(self, part, piece, model):
        """First workspace block of the results of a piece of gate and up."""
        blocks = 2 * model.hidden_blocks // self.pieces
        return part.h + piece % self.ring * self.tokens * blocks


def chunk_plan(model, config, plan, columns, groups, parts, *, split, pieces, ring, prompt):
    """The :class:`ChunkPlan` of a shape, or None if it does not fit."""
    dim, hidden, table = model.dim_blocks, model.hidden_blocks, model.table_blocks
    tokens, kv, q = columns * groups, model.kv_rows, model.q_blocks
    produced, piece = 2 * kv + model.q_rows + plan.extra, 2 * hidden // pieces
    # What a product may write before normed vectors of the last group have been rounded.
    early = (tokens - columns if pieces == 1 else tokens) * piece
    if split:
        # Queries are rotated when keys and values are staged, to where these were.
        rows, o = max(2 * kv, q), 0
        early = max(early, tokens * 2 * kv)
    else:
        rows, o = 2 * kv, produced
        early = max(early, tokens * produced)
    shared = max(tokens * ring * piece, tokens * (max(o, rows) + q), early + tokens * dim)
    rope = plan.rows
    x = rope + 2 * tokens * parts * table
    region = x + tokens * parts * dim
    vector = groups * max(dim, model.q_rows)
    inner = groups * max(hidden, q)
    heads = heads_of_chunk(model, config)
    probability = parts * (vector + inner)
    # Of two parts, so many attends are dispatched before the first divide; the last term is those
    # whose sums have room.
    attends = (groups + 1) * (model.n_heads // heads) if parts == 2 else 0
    if (attends > config.queue + 2 * config.kv_groups // heads
            or region + parts * shared > config.blocks
            or probability + (config.keys_ahead + 1) * heads > config.act_blocks
            or tokens * max(hidden, q, dim) > MOST_BLOCKS):
        return None
    return ChunkPlan(
        columns=columns, groups=groups, heads=heads, split=split, pieces=pieces, ring=ring,
        staged=staged_together(tokens, model, config) if split else 1,
        probability=probability,
        cycles=chunk_cycles(model, config, columns, groups, parts, prompt),
        parts=tuple(Part(
            first=n * tokens, x=x + n * tokens * dim,
            n=region + (n + 1) * shared - tokens * dim,
            kv=region + n * shared,
            q=region + n * shared + rows * (tokens if split else 1),
            o=region + n * shared + tokens * o, h=region + n * shared,
            rope_k=rope + n * tokens * table, rope_q=rope + (parts + n) * tokens * table,
            vector=n * (vector + inner), inner=n * (vector + inner) + vector,
            query=n * (vector + inner) + vector) for n in range(parts)))


def staged_together(tokens, model, config):
    """Most tokens that can be staged together; always as many, so that blocks are used in the
    order in which they have been read. One if that takes fewer commands than all heads do."""
    most = min(MOST_APPENDED, config.kv_staging // (2 * model.kv_blocks))
    number = max(n for n in range(1, most + 1) if tokens % n == 0)
    return number if number >= model.n_kv_heads else 1


def tile_rows(matrix, config):
    """Rows of a tile of a matrix, of all but the last."""
    _, height, _ = tiling(len(matrix.weights), config.slices, matrix.format)
    return height * config.slices


def pieces_of(model, config):
    """``[(pieces, ring)]``: equal pieces of gate and up, each of whole tiles and lines, and room
    for the results of how many; the best first, which is room for all."""
    def cut(matrix, pieces):
        rows, beats = len(matrix.weights), matrix.beats(config.slices)
        return (matrix.factor is None and rows % (pieces * tile_rows(matrix, config)) == 0
                and beats // pieces * config.beat_bytes % config.line_bytes == 0)

    hidden = model.hidden_blocks
    found = [n for n in range(1, hidden + 1) if n == 1 or hidden % n == 0
             and all(cut(layer.gate_up, n) for layer in model.layers)]
    large = max(n for n in found if n == 1 or hidden // n >= LEAST_PIECE)
    return [(large, large), *((n, ring) for least in (2, 1) for ring in (3, 2)
                              for n in found if n > ring and hidden // n >= least)]


def splits(matrix, model, config):
    """Whether each head is whole tiles of the matrix."""
    rows = len(matrix.weights)
    tile, head = tile_rows(matrix, config), 32 * model.head_blocks
    return (matrix.factor is None and not model.compact and head % tile == 0
            and rows == head * (2 * model.n_kv_heads + model.n_heads))


def repeats(matrix, config):
    """Whether the replay buffer holds a tile, for several groups of columns."""
    size = matrix.weights.shape[1]
    bits = FORMATS[matrix.format].element.bits
    # Six bits have been unpacked to eight.
    return tile_rows(matrix, config) * size * (8 if bits == 6 else bits) <= 8 * config.replay


def whole_lines(matrices, config):
    """Whether matrices end at the end of a line, so that the next can be read by itself."""
    beats = sum(matrix.beats(config.slices) for matrix in matrices)
    return beats * config.beat_bytes % config.line_bytes == 0
