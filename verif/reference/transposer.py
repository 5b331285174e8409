"""Values turned from rows of channels, as memory holds them, into rows of tokens."""

import numpy as np


__all__ = ["transpose"]


#: Tokens in a KV block.
BLOCK = 32


def transpose(rows, slices, height):
    """Beats of a tile of values: uint8 [2 * height, slices, 16].

    Reference for :class:`hw.attention.transposer.Transposer`. Beat ``2 * i + h`` carries in byte
    ``p`` of slice ``s`` what byte ``i`` of slice ``s`` is in row ``16 * h + p``.

    Parameters
    ----------
    rows : uint8 [32, 16 * slices]
        One beat for each token: 16 channels in each slice.
    height : int
        Rows a slice of the tile.
    """
    cube = np.asarray(rows, np.uint8).reshape(2, 16, slices, 16)      # half, token, slice, channel
    return cube.transpose(3, 0, 2, 1)[:height].reshape(2 * height, slices, 16)
