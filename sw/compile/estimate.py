"""About how many cycles chunks of shapes take, by which one is chosen.

The array works for one of two parts while the vector unit works for the other, so the slower one
counts; of products, what takes longer of reading and multiplying.
"""

from collections import Counter

from hw.formats import FORMATS, KV
from verif.reference.pattern import BLOCK
from verif.reference.tape import tape_beats

from .layers import matrices_of


__all__ = ["alone_cycles", "chunk_cycles", "heads_of_chunk"]

#: Cycles that a token's commands to the vector unit take besides their rows, and cycles of an
#: attend besides its products.
COMMANDS, ATTEND = 100, 150


def heads_of_chunk(model, config):
    """Query heads of a chunk's tokens that attend together."""
    return max(n for n in range(1, config.kv_groups + 1) if model.queries % n == 0)


def product_cycles(shape, format, config, groups):
    """Of a product with a matrix, for so many groups of columns."""
    # A multiplier takes a weight of 8 bits in a cycle.
    array = groups * shape[0] * shape[1] * FORMATS[format].beats / 2 / (16 * config.slices)
    return max(array, tape_beats(shape, format, config.slices) * config.beat_words)


def alone_cycles(model, config):
    """Of a token that passes alone, without attention: its weights are read."""
    return sum(product_cycles(matrix.weights.shape, matrix.format, config, 1)
               for matrix in matrices_of(model.layers))


def attend_cycles(model, config, sees, tokens):
    """Of all heads of the tokens in columns, which see so many tokens on average."""
    if sees.window:
        tokens = min(tokens, sees.window + sees.sinks)
    heads, head, packed = heads_of_chunk(model, config), model.head_blocks, KV[model.kv].packed
    block = max(config.kv_beats(head, packed) * config.beat_words, config.kv_beats(head) * heads)
    return model.n_heads // heads * ((tokens / BLOCK + 1) * block + ATTEND)


def chunk_cycles(model, config, columns, groups, parts, tokens):
    """Of a chunk of a prompt with so many tokens."""
    *layers, last = model.layers
    rows = config.block_rows * columns * groups
    commands = COMMANDS * columns * groups
    # Norms, rotations, the gate and the rounding of all, in blocks.
    last_vector = rows * (4 * model.dim_blocks + 4 * model.kv_rows) + commands / 2
    vector = last_vector + commands / 2 + rows * (
        4 * model.dim_blocks + 5 * model.q_blocks + 5 * model.hidden_blocks)
    kinds = Counter((sees, *((matrix.weights.shape, matrix.format) for matrix in layer.matrices))
                    for layer, sees in zip(layers, model.sees))
    found = 0
    for (sees, *matrices), number in kinds.items():
        array = groups * attend_cycles(model, config, sees, tokens / 2) + sum(
            product_cycles(*matrix, config, groups) for matrix in matrices)
        found += number * parts * (max(array, vector) if parts == 2 else array + vector)
    keys = (2 * 32 * model.kv_rows, 32 * model.dim_blocks)
    return found + product_cycles(keys, last.kvq.format, config, groups) + parts * last_vector
