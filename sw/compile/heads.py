"""Heads that are not whole blocks: how they lie in matrices and in the workspace.

In matrices, and in what products give, heads follow each other, each padded to whole half blocks:
memory holds no more. Attention has heads of whole blocks. Where vectors are rounded, `quantise`
cuts them into heads, and puts them together behind attention (docs/compiler.md).
"""

from hw.formats import BLOCK


__all__ = ["HALF", "columns_of_heads", "head_rows", "rounds_of_heads", "table_heads"]

#: Elements of a half block.
HALF = BLOCK // 2


def head_rows(head):
    """Elements of a head in matrices; small heads fill a block."""
    return max(BLOCK, -(-head // HALF) * HALF)


def columns_of_heads(model):
    """Columns of the output matrix of attention: heads one behind the other, in whole blocks."""
    return -(-model.n_heads * head_rows(model.head) // BLOCK) * BLOCK


def table_heads(halves):
    """Heads that make whole blocks together."""
    return 1 + halves % 2


def rounds_of_heads(heads, halves):
    """``[(first head, heads, halves of zeros)]``: heads that are put together to whole blocks; a
    last one may need zeros behind it."""
    if heads * halves % 2 == 0:
        return [(0, heads, 0)]
    return [*([(0, heads - 1, 0)] if heads > 1 else []), (heads - 1, 1, 1)]
