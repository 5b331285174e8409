"""Chunks of tokens of the prompt: how many tokens, and where everything of them lies on the die.

A chunk is one part, or two parts that take turns: while the array multiplies for one, the vector
unit works for the other. docs/compiler.md gives the order, and why regions may share room.
"""

from dataclasses import dataclass

from hw.formats import FORMATS
from verif.reference.tape import tape_beats, tiling


__all__ = ["ChunkPlan", "Part", "chunk_plans", "splits"]

#: Largest count of blocks and of groups in a command, largest table of ``rope``, and most tokens of
#: an ``append``.
MOST_BLOCKS, MOST_GROUPS, MOST_PERIOD, MOST_APPENDED = 4095, 255, 15, 16

#: Blocks of gates for which a product of their own is worth while.
LEAST_PIECE = 4

#: Cycles that a token's commands to the vector unit take besides their rows.
COMMANDS = 200


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
        replaces, in the order of attention; gate and up. ``n`` and ``h`` share room with the
        others but ``x``.
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
    pieces : int
        Products that gate and up are.
    parts : tuple of :class:`Part`
    probability : int
        First activation block of probabilities.
    """

    columns: int
    groups: int
    heads: int
    split: bool
    staged: int
    pieces: int
    parts: tuple
    probability: int

    @property
    def tokens(self):
        """Tokens of a part."""
        return self.columns * self.groups

    @property
    def chunk(self):
        """Tokens of a chunk."""
        return self.tokens * len(self.parts)

    def chunks(self, prompt, context):
        """Chunks of a prompt. The last one may be filled up with tokens that nobody sees, if that
        is sooner done than one token after the other, and if there are positions for them.

        The last token of the prompt is in none: it is followed by a choice.
        """
        whole, rest = divmod(prompt - 1, self.chunk)
        return whole + (4 * rest >= self.chunk and (whole + 1) * self.chunk <= context)


def chunk_plans(model, config, plan, prompt, most=None):
    """Every :class:`ChunkPlan` that fits, the fastest first; ``most`` bounds its tokens."""
    most = min(prompt - 1, most or prompt)
    if any(sees.blocks is not None or sees.sparse is not None for sees in model.sees):
        # What a list makes visible depends on the last token of a walk, and tokens choose pages one
        # by one.
        return
    matrices = [matrix for layer in model.layers for matrix in layer.matrices]
    most_groups = MOST_GROUPS if all(repeats(matrix, config) for matrix in matrices) else 1
    most_parts = 2 if all(whole_lines(matrix, config) for matrix in matrices) else 1
    split = all(splits(layer.kvq, model, config) for layer in model.layers)
    pieces = pieces_of(model, config)
    shapes = {(min(config.columns, most // parts), groups, parts)
              for parts in range(1, most_parts + 1) for groups in range(1, most_groups + 1)
              if 1 < groups * parts * min(config.columns, most // parts) <= most}
    for shape in sorted(shapes, key=lambda s: (cycles(model, config, *s), -s[0] * s[1] * s[2])):
        found = chunk_plan(model, config, plan, split, pieces, *shape)
        if found is not None:
            yield found


def cycles(model, config, columns, groups, parts):
    """About so many cycles a layer takes for a token, without attention: of two parts, the array
    works for one while the vector unit works for the other."""
    tokens, (dim, hidden) = columns * groups, (model.dim_blocks, model.hidden_blocks)
    array = sum(tape_beats(matrix.weights.shape, matrix.format, config.slices)
                for matrix in model.layers[0].matrices) * max(groups, config.beat_words)
    # Norms, rotations, the gate and the rounding of all, in blocks; then commands of one token.
    blocks = 8 * dim + 4 * model.kv_blocks + 5 * model.q_blocks + 5 * hidden
    vector = tokens * (blocks * config.block_rows + COMMANDS)
    return (array + vector if parts == 1 else max(array, vector)) / tokens


def chunk_plan(model, config, plan, split, pieces, columns, groups, parts):
    """The :class:`ChunkPlan` of a shape, or None if it does not fit."""
    dim, hidden, head = model.dim_blocks, model.hidden_blocks, model.head_blocks
    tokens, kv, q = columns * groups, model.kv_blocks, model.q_blocks
    produced = 2 * kv + q + plan.extra
    # What a product may write before normed vectors of the last group have been rounded.
    early = (tokens - columns if pieces == 1 else tokens) * 2 * hidden // pieces
    # Products of the first groups are written while normed vectors of the last one are still read.
    shared = max(tokens * 2 * hidden, tokens * (produced + q), tokens * (produced + dim),
                 early + tokens * dim)
    rope = plan.rows
    x = rope + 2 * tokens * parts * head
    region = x + tokens * parts * dim
    vector = groups * max(dim, q)
    inner = groups * max(hidden, q)
    heads = max(n for n in range(1, config.kv_groups + 1) if model.queries % n == 0)
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
        columns=columns, groups=groups, heads=heads, split=split, pieces=pieces,
        staged=staged_together(tokens, model, config) if split else 1,
        probability=probability,
        parts=tuple(Part(
            first=n * tokens, x=x + n * tokens * dim,
            n=region + (n + 1) * shared - tokens * dim,
            kv=region + n * shared,
            q=region + n * shared + 2 * kv * (tokens if split else 1),
            o=region + n * shared + tokens * produced, h=region + n * shared,
            rope_k=rope + n * tokens * head, rope_q=rope + (parts + n) * tokens * head,
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
    """Most equal pieces of gate and up, each of whole tiles and lines, and not too small."""
    def cut(matrix, pieces):
        beats = tape_beats(matrix.weights.shape, matrix.format, config.slices)
        return (matrix.factor is None and len(matrix.weights) % pieces == 0
                and len(matrix.weights) // pieces % tile_rows(matrix, config) == 0
                and beats // pieces * config.beat_bytes % config.line_bytes == 0)

    hidden = model.hidden_blocks
    return max(n for n in range(1, hidden + 1) if n == 1 or hidden % n == 0
               and hidden // n >= LEAST_PIECE
               and all(cut(layer.gate_up, n) for layer in model.layers))


def splits(matrix, model, config):
    """Whether each head is whole tiles of the matrix."""
    rows = len(matrix.weights)
    tile, head = tile_rows(matrix, config), 32 * model.head_blocks
    return (matrix.factor is None and head % tile == 0
            and rows == head * (2 * model.n_kv_heads + model.n_heads))


def repeats(matrix, config):
    """Whether the replay buffer holds a tile, for several groups of columns."""
    size = matrix.weights.shape[1]
    bits = FORMATS[matrix.format].element.bits
    # Six bits have been unpacked to eight.
    return tile_rows(matrix, config) * size * (8 if bits == 6 else bits) <= 8 * config.replay


def whole_lines(matrix, config):
    """Whether a matrix ends at the end of a line, so that the next can be read by itself."""
    beats = tape_beats(matrix.weights.shape, matrix.format, config.slices)
    return beats * config.beat_bytes % config.line_bytes == 0
