"""Bytes of one matrix on the tape, as section 3.1 of interfaces.md lays them out."""

from math import gcd
from typing import NamedTuple

import numpy as np

from hw.formats import BLOCK, Span, named
from verif.reference.beats import HALF, PIECE, beats_a_block, from_beats, to_beats


__all__ = ["ROWS", "Section", "tiling", "sections", "tape_beats", "pack", "unpack"]


#: Most rows a slice of a tile.
ROWS = 16


class Section(NamedTuple):
    """Scale fields of a tile that lie together, and the blocks behind them."""

    fields: slice   # of each row
    blocks: range
    beats: int      # of the scales


def meaning(format):
    """The :class:`hw.formats.Format` of a name, or itself."""
    return named(format) if isinstance(format, str) else format


def tiling(rows, slices, format):
    """``(tiles, height, tail)``: how a matrix of so many rows is cut.

    All tiles have ``height`` rows a slice, but for the last one, which has ``tail``. If that is
    less than half, all become lower by what fills the last one: blocks of few rows are slow, as
    the sum of a row takes a term only when the one before has been added.
    """
    step = meaning(format).step
    # A tile fills rows of the workspace, which are up to 32 elements.
    unit = max(step, min(2 * ROWS, ROWS * slices) // slices)
    all_rows = -(-rows // (slices * step)) * step
    height = min(ROWS, all_rows)
    tiles = -(-all_rows // height)
    if 2 * (all_rows - (tiles - 1) * height) < height:
        height = -(-all_rows // (tiles * unit)) * unit
    return tiles, height, all_rows - (tiles - 1) * height


def sections(size, height, format):
    """The :class:`Section` s of a tile of ``height`` rows a slice, of ``size`` elements each."""
    blocks, z = -(-size // BLOCK), format.scale.bytes
    if format.span == Span.ROW or not z:
        yield Section(slice(0, 1), range(blocks), -(-height * z // PIECE))
        return
    fields, each = format.fields(blocks), 4 if format.span == Span.FOUR else 1
    # So many fill whole pieces.
    together = PIECE // gcd(PIECE, height * z)
    for first in range(0, fields, together):
        number = min(together, fields - first)
        yield Section(slice(first, first + number),
                      range(first * each, min((first + number) * each, blocks)),
                      -(-number * height * z // PIECE))


def row_beats(size, format):
    """Beats of the elements of a row, or of two rows that lie together."""
    if format.whole:
        return -(-size // BLOCK) * beats_a_block(format)
    return -(-size // HALF) * beats_a_block(format) // 2


def tape_beats(shape, format, slices, tiles=None):
    """Beats of a matrix of ``shape`` (rows, size of a row) on the tape; ``tiles``: how it is cut,
    if not as :func:`tiling` says."""
    (rows, size), format = shape, meaning(format)
    tiles, height, tail = tiles or tiling(rows, slices, format)
    return format.factor + (tiles - 1) * tile_beats(size, height, format) + tile_beats(
        size, tail, format)


def tile_beats(size, height, format):
    """Beats of a tile."""
    return (sum(section.beats for section in sections(size, height, format))
            + height // format.step * row_beats(size, format))


def pack(weights, scales, format, slices, factor=None, tiles=None):
    """Tape of a matrix, as bytes.

    Parameters
    ----------
    weights : int [N, K]
        The integers of elements. K is padded with zeros to whole halves (8 and 16 bits) or whole
        blocks (4 and 6 bits).
    scales : [N, format.scales(K)]
        FP16, as float16 or as bits in uint16; BF16 bits, uint16; or codes, uint8.
    format : str or :class:`hw.formats.Format`
    slices : int
    factor : float32
        If the format has one.
    tiles : tuple of int
        How the matrix is cut, if not as :func:`tiling` says.
    """
    format = meaning(format)
    codes, scales = format.element.encode(weights), np.asarray(scales)
    rows, size = codes.shape
    wanted = rows, format.scales(size)
    if scales.shape != wanted:
        raise ValueError(f"scales must have shape {wanted}, not {scales.shape}")
    if scales.dtype.itemsize != format.scale.dtype.itemsize or scales.dtype.kind not in "fu":
        raise TypeError(f"scales of {format.name} must be {format.scale.dtype}, not "
                        f"{scales.dtype}")
    if (factor is not None) != format.factor:
        raise ValueError(f"a matrix of {format.name} has {'a' if format.factor else 'no'} factor")
    # A field of E4M3 is two codes.
    fields = np.ascontiguousarray(scales).view(np.uint8).reshape(
        rows, format.fields(-(-size // BLOCK)), -1)
    tiles, height, tail = tiles or tiling(rows, slices, format)
    padding = ((tiles - 1) * height + tail) * slices - rows
    codes = np.pad(codes, ((0, padding), (0, -size % (BLOCK if format.whole else HALF))))
    fields = np.pad(fields, ((0, padding), (0, 0), (0, 0)))
    parts = []
    if format.factor:
        piece = np.float32(factor).tobytes().ljust(PIECE, b"\0")
        parts.append(piece * slices)
    split = (tiles - 1) * height * slices
    for part, number, rows in ((slice(0, split), tiles - 1, height),
                               (slice(split, None), 1, tail)):
        if number:
            parts.append(pack_tiles(codes[part].reshape(number, rows, slices, -1),
                                    fields[part].reshape(number, rows, slices,
                                                         *fields.shape[1:]), format))
    return b"".join(parts)


def pack_tiles(codes, fields, format):
    """Bytes of tiles of equal height; axes are tile, row, slice, and element or field, byte."""
    tiles, rows, slices, size = codes.shape
    beats, each = to_beats(codes, format), beats_a_block(format)
    found = []
    for section in sections(size, rows, format):
        run = fields[:, :, :, section.fields].transpose(0, 2, 3, 1, 4).reshape(tiles, slices, -1)
        run = run[:, :, :section.beats * PIECE]
        run = np.pad(run, ((0, 0), (0, 0), (0, section.beats * PIECE - run.shape[2])))
        run = run.reshape(tiles, slices, section.beats, PIECE).swapaxes(1, 2)
        found.append(run.reshape(tiles, -1))
        for block in section.blocks:
            part = beats[:, :, :, each * block:each * (block + 1)]
            # Order on the tape: row, beat, slice, byte.
            found.append(part.swapaxes(2, 3).reshape(tiles, -1))
    return np.concatenate(found, axis=1).tobytes()


def unpack(tape, shape, format, slices, tiles=None):
    """``(weights, scales, factor)`` of a matrix of ``shape`` from its tape; undoes :func:`pack`.

    Weights are integers; ``factor`` is None if the format has none.
    """
    format = meaning(format)
    rows, size = shape
    beat, beats = PIECE * slices, tape_beats(shape, format, slices, tiles)
    if len(tape) != beats * beat:
        raise ValueError(f"the tape must have {beats * beat} bytes, not {len(tape)}")
    tape = np.frombuffer(tape, np.uint8)
    factor = None
    if format.factor:
        factor, tape = tape[:4].view("<f4")[0], tape[beat:]
    tiles, height, tail = tiles or tiling(rows, slices, format)
    split = len(tape) - tile_beats(size, tail, format) * beat
    parts = [unpack_tiles(part.reshape(number, -1), size, tile_rows, slices, format)
             for part, number, tile_rows in ((tape[:split], tiles - 1, height),
                                             (tape[split:], 1, tail)) if number]
    weights, scales = (np.concatenate(arrays)[:rows] for arrays in zip(*parts))
    return weights[:, :size], scales, factor


def unpack_tiles(tape, size, rows, slices, format):
    """Weights and scales of tiles of equal height; ``tape`` has a row for each tile."""
    tiles, z = len(tape), format.scale.bytes
    lines, each, total = rows // format.step, beats_a_block(format), row_beats(size, format)
    fields = np.zeros((tiles, rows, slices, format.fields(-(-size // BLOCK)), z), np.uint8)
    beats = np.zeros((tiles, lines, slices, total, PIECE), np.uint8)
    position = 0

    def take(*axes):
        nonlocal position
        count = int(np.prod(axes))
        position += count
        return tape[:, position - count:position].reshape(tiles, *axes)

    for section in sections(size, rows, format):
        run = take(section.beats, slices, PIECE).swapaxes(1, 2).reshape(tiles, slices, -1)
        number = section.fields.stop - section.fields.start
        run = run[:, :, :number * rows * z].reshape(tiles, slices, number, rows, z)
        fields[:, :, :, section.fields] = run.transpose(0, 3, 1, 2, 4)
        for block in section.blocks:
            own = slice(each * block, min(each * (block + 1), total))
            beats[:, :, :, own] = take(lines, own.stop - own.start, slices, PIECE).swapaxes(2, 3)
    weights = format.element.decode(from_beats(beats, format))
    count = tiles * rows * slices
    scales = np.ascontiguousarray(fields).reshape(count, -1)
    scales = scales.view(format.scale.dtype) if z else np.zeros((count, format.scales(size)),
                                                                format.scale.dtype)
    return weights.reshape(count, -1), scales
