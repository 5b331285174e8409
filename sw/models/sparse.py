"""Block-sparse attention: which pages of keys a layer chooses from, and how many it takes."""

import re
from dataclasses import dataclass

from sw.errors import UserError
from verif.reference.pattern import BLOCK


__all__ = ["DEFAULT_PAGE", "Sparse", "parse_sparse"]

#: Tokens of a page, if the user does not say.
DEFAULT_PAGE = 128
#: Smallest and largest page, and smallest share, that instructions can name.
SMALLEST_PAGE, LARGEST_PAGE, MOST_SHIFT = BLOCK, BLOCK << 7, 15


@dataclass(frozen=True)
class Sparse:
    """How a layer chooses pages.

    Parameters
    ----------
    shift : int
        Of n pages, ``n >> shift`` are taken, but at least :attr:`least`.
    page : int
        Tokens of a page, a power of two.
    """

    shift: int
    page: int = DEFAULT_PAGE

    #: Pages that are taken if there are any.
    least = 1

    def __post_init__(self):
        if not 1 <= self.shift <= MOST_SHIFT:
            raise UserError(f"the share of pages must be 1/2, 1/4, .. or 1/{1 << MOST_SHIFT}, not "
                            f"1/{1 << self.shift}")
        if not SMALLEST_PAGE <= self.page <= LARGEST_PAGE or self.page & (self.page - 1):
            raise UserError(f"a page must have a power of two of tokens, {SMALLEST_PAGE} to "
                            f"{LARGEST_PAGE}, not {self.page}")

    @property
    def page_shift(self):
        """Base-2 logarithm of the KV blocks of a page."""
        return (self.page // BLOCK).bit_length() - 1


def parse_sparse(text, page=None):
    """The :class:`Sparse` of a share such as ``1/16`` and of a page; None for none of both."""
    if text is None:
        if page is not None:
            raise UserError(f"pages of {page} tokens need a share of them, such as --sparse 1/16")
        return None
    found = re.fullmatch(r"1/([0-9]{1,9})", text.strip())
    share = int(found[1]) if found else 0
    if share < 2 or share & (share - 1):
        raise UserError(f"the share of pages must be one over a power of two, such as 1/16, not "
                        f"{text!r}")
    return Sparse(share.bit_length() - 1, DEFAULT_PAGE if page is None else page)
