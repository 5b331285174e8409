"""Which tokens the layers of a model see: all, a window with sinks, and chosen blocks or pages."""

import re
from dataclasses import dataclass
from pathlib import Path

from sw.errors import UserError
from verif.reference.pattern import BLOCK

from .sparse import Sparse, parse_sparse


__all__ = ["Attention", "choose_attention", "parse_blocks"]

#: Widest window and most sinks that instructions can name.
MOST_WINDOW, MOST_SINKS = (1 << 20) - 1, (1 << 12) - 1
#: Longest list of blocks.
MOST_BLOCKS = (1 << 16) - 1


@dataclass(frozen=True)
class Attention:
    """What a token sees in one layer.

    Parameters
    ----------
    window : int
        It and the tokens before it that are seen, ``window`` in all; 0: all.
    sinks : int
        First tokens, which are seen always.
    blocks : tuple of int, optional
        Numbers of blocks of 32 tokens that are seen besides, ascending. The window and the sinks
        are then those of :func:`verif.reference.pattern.blocks_read`: all tokens of the blocks that
        hold them are seen.
    sparse : :class:`.Sparse`, optional
        Pages that each token chooses are seen besides. Window and sinks are those of blocks, too;
        a window has at least a page, so that no token lies between it and the whole pages.
    """

    window: int = 0
    sinks: int = 0
    blocks: tuple | None = None
    sparse: Sparse | None = None

    def __post_init__(self):
        if not 0 <= self.window <= MOST_WINDOW:
            raise UserError(f"a window must have 1 to {MOST_WINDOW} tokens, not {self.window}")
        if self.sinks and not self.window:
            raise UserError("sinks need a window; without one all tokens are seen")
        if not 0 <= self.sinks <= min(self.window, MOST_SINKS):
            raise UserError(f"there must be 0 to {min(self.window, MOST_SINKS)} sinks, as the "
                            f"window has {self.window} tokens and {MOST_SINKS} sinks are the "
                            f"most, not {self.sinks}")
        if self.blocks is not None:
            self._check_blocks()
        if self.sparse is not None and self.window < self.sparse.page:
            raise UserError(f"a layer that chooses pages of {self.sparse.page} tokens needs a "
                            f"window of as many, not {self.window}")

    def _check_blocks(self):
        if not self.window:
            raise UserError("a list of blocks needs a window, which it adds to")
        if not 1 <= len(self.blocks) <= MOST_BLOCKS:
            raise UserError(f"a list of blocks must have 1 to {MOST_BLOCKS} numbers, not "
                            f"{len(self.blocks)}")
        for before, number in zip((-1, *self.blocks), self.blocks):
            if number == before:
                raise UserError(f"the list of blocks repeats {number}")
            if number < before:
                raise UserError(f"the list of blocks must ascend, but {number} follows {before}")

    @property
    def mask(self):
        """``(window, sinks)`` of the tokens that are seen in the blocks that are read."""
        by_token = self.blocks is None and self.sparse is None
        return (self.window, self.sinks) if by_token else (0, 0)

    def within(self, positions):
        """The same for texts of ``positions`` tokens: dense if the window takes in all of them."""
        return Attention() if self.window >= positions else self

    def check_range(self, name, context):
        """Raise :class:`UserError` if a block lies beyond ``context`` tokens."""
        end = -(-context // BLOCK)
        if self.blocks and self.blocks[-1] >= end:
            raise UserError(f"the list of blocks has block {self.blocks[-1]}, but the {context} "
                            f"tokens that {name} sees are blocks 0 to {end - 1}")


def choose_attention(layers, window=None, sinks=0, global_every=None, blocks=None, sparse=None,
                     page=None, *, given=()):
    """:class:`Attention` of each of ``layers`` layers, as a user asks for it; () for dense ones,
    and if nothing is asked for.

    Parameters
    ----------
    window, sinks : int
        See :class:`Attention`; without a window all layers are dense.
    global_every : int, optional
        Each layer whose number, counted from 1, is a multiple is dense.
    blocks : str, optional
        See :func:`parse_blocks`.
    sparse, page : str, int, optional
        See :func:`.parse_sparse`; dense layers choose pages then, or all if no layer is dense.
    given : tuple of :class:`Attention`
        What a model's file says; only for ``sparse`` without a window.
    """
    sparse = parse_sparse(sparse, page)
    if sparse is not None and blocks is not None:
        raise UserError("pages are chosen, or a list of blocks is given, not both")
    if window is None:
        if global_every is not None:
            raise UserError("layers without a window, every n-th, need a window for the others")
        if sparse is not None:
            return choose_sparse(given or (Attention(),) * layers, sparse, sinks)
        return tuple(Attention(0, sinks, None if blocks is None else parse_blocks(blocks))
                     for _ in range(layers)) if sinks or blocks is not None else ()
    if window == 0:
        raise UserError(f"a window must have 1 to {MOST_WINDOW} tokens, not 0; leave it out to "
                        "see all")
    if global_every is not None and global_every < 1:
        raise UserError(f"every n-th layer can be dense with n from 1 on, not {global_every}")
    if global_every == 1 and sparse is None:
        raise UserError("with every layer dense no layer has the window; leave the window out, or "
                        "let every second layer be dense")
    near = Attention(window, sinks, None if blocks is None else parse_blocks(blocks))
    far = Attention()
    if sparse is not None:
        far = Attention(max(window, sparse.page), sinks, sparse=sparse)
        global_every = global_every or 1
    return tuple(far if global_every and (n + 1) % global_every == 0 else near
                 for n in range(layers))


def choose_sparse(given, sparse, sinks):
    """The same layers, of which those that were dense choose pages."""
    if all(sees.window for sees in given):
        raise UserError("all layers of this model have a window, and none is left to choose pages; "
                        "with --window all layers do, or every n-th by --global-every")
    return tuple(sees if sees.window else Attention(sparse.page, sinks, sparse=sparse)
                 for sees in given)


def parse_blocks(text):
    """Numbers of a list such as ``0,3-7``, or of the file of this name that holds one."""
    if not re.fullmatch(r"[0-9\s,-]*", text):
        try:
            text = Path(text).read_text()
        except (OSError, UnicodeDecodeError):
            raise UserError(f"{text} is neither a list of blocks, such as 0,3-7, nor a file with "
                            "one") from None
    numbers = []
    for part in re.split(r"[,\s]+", text.strip()):
        found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part)
        if not found:
            raise UserError(f"a list of blocks has numbers and ranges, such as 0,3-7, not {part!r}")
        first, last = (int(number or found[1]) for number in found.groups())
        if last < first:
            raise UserError(f"the list of blocks must ascend, but {part} does not")
        if last - first >= MOST_BLOCKS:
            raise UserError(f"a list of blocks must have 1 to {MOST_BLOCKS} numbers, not "
                            f"{last - first + 1}")
        numbers += range(first, last + 1)
    return tuple(numbers)
