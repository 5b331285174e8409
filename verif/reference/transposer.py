"""Values turned from rows of channels, as memory holds them, into rows of tokens."""

import numpy as np


__all__ = ["transpose"]


#: Tokens in a KV block.
BLOCK = 32


def transpose(rows, slices, height):
    """Beats of a tile of values: uint8 [2 * height, slices, 16].

    Reference for :class:`hw.attention.transposer.Transposer`. Beat ``2 * i + h`` carries in byte
    ``p`` of slice ``s`` byte ``i`` of slice ``s`` of token ``16 * h + p``.

    Parameters
    ----------
    rows : uint8 [2 * pitch, 16 * slices]
        ``pitch`` is 16, or as of :meth:`hw.config.Config.value_pitch`: one beat for each token, or
        for the tokens at that distance in a half of the block.
    height : int
        Rows a slice of the tile.
    """
    pitch = len(rows) // 2
    # half, token inside the pitch, slice, multiple of it, channel
    cube = np.asarray(rows, np.uint8).reshape(2, pitch, slices, 16 // pitch, pitch)
    return cube.transpose(4, 0, 2, 3, 1)[:height].reshape(2 * height, slices, 16)
