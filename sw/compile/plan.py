"""Where everything lies on the die: workspace blocks, activation blocks, and the chunks of logits.

Regions that share room are those whose uses are separated by the chain of dependencies of a token;
docs/compiler.md gives the argument for each.
"""

from dataclasses import dataclass, field

from sw.errors import UserError

from .layers import row_unit
from .sparse import find_sparse


__all__ = ["Chunk", "Plan", "chunk_matrices", "make_plan"]

#: KV heads of one ``append``.
MOST_HEADS = 31


@dataclass(frozen=True)
class Chunk:
    """Rows of the output matrix whose logits are in the workspace at once, in blocks."""

    first: int
    blocks: int
    slot: int   # workspace block of the first logit


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Block numbers; workspace regions first, then activation regions.

    Parameters
    ----------
    x, n, gain, final_gain, rope_k, rope_q : int
        Residual stream, normed vector, two buffers for gains, the last norm's gain, rotary rows.
    bounds : int
        Largest, then smallest keys so far of a page, of layers that choose pages.
    rows, o, h : int
        Keys, values and queries; attention's output; gate and up. The last shares room with the
        other two, and ``chunks`` with all three.
    used : int
        Workspace blocks used.
    extra : int
        Blocks of zeros that the tiles of K, V and Q produce beyond the queries.
    columns, groups : int
        Query heads that attend together: in columns, and groups of columns.
    vector, inner, query, parts, probability : int
        Activation blocks of matrix products of the residual stream or of attention's output; of
        the feed-forward network; of queries, of their positive and negative elements, by which
        pages are chosen, and of probabilities (which three share room with the last).
    chunks : tuple of :class:`Chunk`
    ring : int
        Blocks of logits that may be unread at once, if there are several chunks; else 0.
    """

    x: int
    n: int
    gain: tuple
    final_gain: int
    rope_k: int
    rope_q: int
    bounds: int
    rows: int
    o: int
    h: int
    used: int
    extra: int
    columns: int
    groups: int
    vector: int
    inner: int
    query: int
    parts: int
    probability: int
    act_used: int
    chunks: tuple = field(repr=False)
    ring: int


def make_plan(model, config):
    """The :class:`Plan` of a quantised model on a machine; :class:`UserError` if it does not fit.
    """
    who = f"{model.name} does not fit configuration {config}"
    dim, head, table = model.dim_blocks, model.head_blocks, model.table_blocks
    if head > config.max_head_blocks:
        raise UserError(f"{who}: its heads of {32 * head} elements (padded) exceed max_head = "
                        f"{config.max_head}")
    if model.n_kv_heads > MOST_HEADS:
        raise UserError(f"{who}: it has {model.n_kv_heads} KV heads, and an append at most "
                        f"{MOST_HEADS}")
    if 2 * model.kv_blocks > config.kv_staging:
        raise UserError(f"{who}: a token's keys and values are {2 * model.kv_blocks} blocks, "
                        f"kv_staging holds {config.kv_staging}")
    columns, groups = heads_together(model.queries, config)
    sparse = find_sparse(model) is not None

    # Workspace.
    at, fixed = 0, {}
    for name, blocks in (("x", dim), ("n", dim), ("gain0", dim), ("gain1", dim),
                         ("final_gain", dim), ("rope_k", table), ("rope_q", table),
                         ("bounds", 2 * model.kv_rows if sparse else 0)):
        fixed[name] = at
        at += blocks
    produced = len(model.layers[0].kvq.weights) // 32
    shared = max(produced + model.q_blocks, 2 * model.hidden_blocks)
    unit = row_unit(config.slices, model.classifier.format) // 32
    least = at + max(shared, 2 * unit)
    if least > config.blocks:
        raise UserError(f"{who}: it needs {least} blocks of 32 elements in the workspace, which "
                        f"holds {config.blocks}; use workspace = {next_power(128 * least)}")
    chunks, ring = cut_chunks(len(model.classifier.weights) // 32, at, config.blocks - at, unit,
                              16 * config.slices // 32)

    # Activations.
    vector = max(dim, model.q_rows)
    query = model.q_blocks // columns
    probabilities = (config.keys_ahead + 1) * groups
    parts = 2 * query if sparse else 0
    act_used = vector + max(model.hidden_blocks, query + parts + probabilities)
    if act_used > config.act_blocks:
        raise UserError(f"{who}: it needs {act_used} activation blocks, there are "
                        f"{config.act_blocks}; use act_blocks = {next_power(act_used)}")
    return Plan(
        x=fixed["x"], n=fixed["n"], gain=(fixed["gain0"], fixed["gain1"]),
        final_gain=fixed["final_gain"], rope_k=fixed["rope_k"], rope_q=fixed["rope_q"],
        bounds=fixed["bounds"], rows=at, o=at + produced, h=at,
        used=at + max(shared, ring or chunks[0].blocks),
        extra=produced - 2 * model.kv_rows - model.q_rows, columns=columns, groups=groups,
        vector=0, inner=vector, query=vector, parts=vector + query,
        probability=vector + query + parts, act_used=act_used,
        chunks=chunks, ring=ring)


def heads_together(queries, config):
    """``(columns, groups)``: of the ``queries`` query heads of a KV head, as many as can attend
    together, in as few groups as possible."""
    return max(((columns, groups) for columns in range(1, config.columns + 1)
                for groups in range(1, config.kv_groups + 1) if queries % (columns * groups) == 0),
               key=lambda shape: (shape[0] * shape[1], shape[0]))


def cut_chunks(blocks, start, room, unit, tile):
    """``(chunks, ring)``: the logits at once if there is room, else by turns in two halves.

    Chunks are multiples of ``tile`` blocks if a half is that large, else of ``unit``.
    """
    if blocks <= room:
        return (Chunk(0, blocks, start),), 0
    half = room // 2
    half -= half % (tile if half >= tile > unit else unit)
    chunks = tuple(Chunk(first, min(half, blocks - first), start + half * (n % 2))
                   for n, first in enumerate(range(0, blocks, half)))
    return chunks, 2 * half


def chunk_matrices(model, plan):
    """The output matrix cut into chunks, each a matrix of its own on the tape."""
    matrix = model.classifier
    parts = [slice(32 * c.first, 32 * (c.first + c.blocks)) for c in plan.chunks]
    return [matrix._replace(weights=matrix.weights[part], scales=matrix.scales[part])
            for part in parts]


def next_power(value):
    """The power of two from ``value`` on."""
    return 1 << (value - 1).bit_length()
