"""Which tokens a query sees, which KV blocks are read for it, and where they lie."""

import numpy as np


__all__ = ["BLOCK", "seen", "blocks_read", "chosen_blocks", "slot", "parts"]


#: Tokens in a KV block.
BLOCK = 32


def seen(tokens, position, window=0, sinks=0):
    """Whether the query at ``position`` sees each of ``tokens``: bool of their shape.

    It sees the last ``window`` tokens, its own among them, and the first ``sinks``; with a window
    of 0 all tokens up to its own. Reference for the masks of :class:`hw.attention.softmax.Softmax`.
    """
    tokens = np.asarray(tokens)
    near = (tokens > position - window) | (tokens < sinks) if window else True
    return (tokens <= position) & near


def blocks_read(count, span=1, window=0, sinks=0, chosen=()):
    """Numbers of the KV blocks, ascending, that hold what the last ``span`` of ``count`` tokens
    see, and those of ``chosen`` that lie between the sinks and the window."""
    if not count:
        return []
    end = -(-count // BLOCK)
    first = max(0, count - span + 1 - window) // BLOCK if window else 0
    head = min(-(-sinks // BLOCK), first)
    middle = [number for number in chosen if head <= number < first]
    return [*range(head), *middle, *range(first, end)]


def chosen_blocks(pages, page):
    """Numbers of the KV blocks of ``pages``, each of ``2**page`` blocks."""
    return [(number << page) + n for number in pages for n in range(1 << page)]


def slot(number, ring=0, sinks=0):
    """Place of a KV block in the memory of its head, counted in blocks.

    Blocks that hold sinks lie first; the others use the ``ring`` blocks behind them in turn.
    """
    kept = -(-sinks // BLOCK)
    return number if not ring or number < kept else kept + (number - kept) % ring


def parts(walks, ahead):
    """The order in which a chain of walks reads keys and values.

    ``walks`` holds the block numbers of each walk. Returns ``("keys" | "values", walk, number)``.
    Keys are read up to ``ahead`` blocks before the values of a block, also those of the walk
    behind, but not of the one after that. It is the order if every walk is there in time.
    """
    keys = [(walk, number) for walk, numbers in enumerate(walks) for number in numbers]
    order, pending = [], []
    while keys or pending:
        allowed = keys and len(pending) < ahead + 1 and (
            not pending or keys[0][0] - pending[0][0] < 2)
        if allowed:
            pending.append(keys.pop(0))
            order.append(("keys", *pending[-1]))
        if not allowed or len(pending) == ahead + 1:
            order.append(("values", *pending.pop(0)))
    return order
