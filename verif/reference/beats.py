"""Elements of 4, 6, 8 and 16 bits as pieces of 16 bytes, the parts of a beat that a slice takes."""

import numpy as np

from hw.formats import BLOCK


__all__ = ["HALF", "PIECE", "beats_a_block", "to_beats", "from_beats"]


#: Elements of half a block.
HALF = 16

#: Bytes that a slice takes from a beat.
PIECE = 16


def beats_a_block(format):
    """Beats of a block of 32 elements on the tape: of a row, or of two rows that lie together."""
    return format.step * BLOCK * format.element.bits // (8 * PIECE)


def to_beats(codes, format):
    """Pieces ``[tile, line, slice, beat, byte]`` of codes ``[tile, row, slice, element]``.

    A line is a row, or two rows that lie together.
    """
    tiles, rows, slices, size = codes.shape
    if format.step == 1:
        codes = codes.reshape(tiles, rows, slices, size // HALF, HALF)
        if format.double:
            # High bytes, then low bytes.
            codes = np.stack([codes >> 8, codes & 255], axis=4)
        return codes.astype(np.uint8).reshape(tiles, rows, slices, -1, PIECE)
    pairs = codes.reshape(tiles, rows // 2, 2, slices, size)
    if format.four:
        pairs = pairs[:, :, 0] | pairs[:, :, 1] << 4
        return pairs.reshape(tiles, rows // 2, slices, -1, PIECE)
    # Four elements of 6 bits are three bytes. Axes: tile, pair, slice, block, row, four.
    fours = pairs.reshape(tiles, rows // 2, 2, slices, size // BLOCK, BLOCK // 4, 4)
    fours = fours.transpose(0, 1, 3, 4, 2, 5, 6).astype("<u4")
    words = fours[..., 0] | fours[..., 1] << 6 | fours[..., 2] << 12 | fours[..., 3] << 18
    data = words[..., None].view(np.uint8)[..., :3]
    return data.reshape(tiles, rows // 2, slices, -1, PIECE)


def from_beats(pieces, format):
    """The codes of pieces; undoes :func:`to_beats`."""
    tiles, lines, slices = pieces.shape[:3]
    if format.step == 1:
        if format.double:
            pieces = pieces.reshape(tiles, lines, slices, -1, 2, PIECE).astype(np.uint16)
            pieces = pieces[..., 0, :] << 8 | pieces[..., 1, :]
        return pieces.reshape(tiles, lines, slices, -1)
    if format.four:
        pairs = np.stack([pieces & 15, pieces >> 4], axis=2)
        return pairs.reshape(tiles, 2 * lines, slices, -1)
    data = pieces.reshape(tiles, lines, slices, -1, 2, BLOCK // 4, 3).astype(np.uint32)
    words = data[..., 0] | data[..., 1] << 8 | data[..., 2] << 16
    fours = np.stack([words >> shift & 63 for shift in (0, 6, 12, 18)], axis=-1)
    # From tile, pair, slice, block, row, ... to rows ahead of slices.
    return fours.transpose(0, 1, 4, 2, 3, 5, 6).reshape(tiles, 2 * lines, slices, -1)
