"""Bytes of one matrix on the tape, as section 3.1 of interfaces.md lays them out."""

from math import gcd

import numpy as np

from hw.formats import named


__all__ = ["tiling", "tape_beats", "pack", "unpack"]


#: Elements that share a scale, and elements of a beat's piece.
BLOCK, HALF = 32, 16

#: Bytes that a slice takes from a beat.
PIECE = 16

#: Most rows a slice of a tile.
ROWS = 16


def tiling(rows, slices, format):
    """``(tiles, height, tail)``: how a matrix of so many rows is cut.

    All tiles have ``height`` rows a slice, but for the last one, which has ``tail``.
    """
    step = named(format).step

    def rows_a_slice(number):
        return -(-number // (slices * step)) * step

    height = min(ROWS, rows_a_slice(rows))
    tiles = -(-rows // (height * slices))
    return tiles, height, rows_a_slice(rows - (tiles - 1) * height * slices)


def group_size(height, scale_bytes):
    """Blocks whose scales fill whole pieces together."""
    return PIECE // gcd(PIECE, height * scale_bytes)


def tile_shape(size, format):
    """``(blocks, halves)`` of a row of ``size`` elements."""
    blocks = -(-size // BLOCK)
    halves = 2 * blocks if named(format).four else -(-size // HALF)
    return blocks, halves


def groups(blocks, height, scale_bytes):
    """First block, number of blocks and scale beats of each group of a tile."""
    size = group_size(height, scale_bytes)
    for first in range(0, blocks, size):
        number = min(size, blocks - first)
        yield first, number, -(-number * height * scale_bytes // PIECE)


def tape_beats(shape, format, slices, scale_bytes=None):
    """Beats of a matrix of ``shape`` (rows, size of a row) on the tape.

    ``scale_bytes`` is by default that of the format.
    """
    (rows, size), total = shape, 0
    scale_bytes = scale_bytes or named(format).scale.bytes
    tiles, height, tail = tiling(rows, slices, format)
    blocks, halves = tile_shape(size, format)
    for number, rows_a_slice in ((tiles - 1, height), (1, tail)):
        scales = sum(beats for _, _, beats in groups(blocks, rows_a_slice, scale_bytes))
        weights = rows_a_slice * halves // named(format).step
        total += number * (scales + weights)
    return total


def pack(weights, scales, format, slices):
    """Tape of a matrix, as bytes.

    Parameters
    ----------
    weights : int [N, K]
        The integers of elements. K is padded with zeros to whole halves (8 bits) or whole blocks
        (4 bits).
    scales : [N, ceil(K / 32)]
        FP16, as float16 or as bits in uint16; or E8M0 codes, uint8.
    format : str
        A name of :data:`hw.formats.FORMATS`.
    slices : int
    """
    codes = named(format).element.encode(weights)
    weights, scales = np.asarray(weights), np.asarray(scales)
    blocks, halves = tile_shape(weights.shape[1], format)
    if scales.shape != (len(weights), blocks):
        raise ValueError(f"scales must have shape {(len(weights), blocks)}, not {scales.shape}")
    if scales.dtype not in (np.float16, np.uint16, np.uint8):
        raise TypeError(f"scales must be float16, uint16 or uint8, not {scales.dtype}")
    tiles, height, tail = tiling(len(weights), slices, format)
    parts = []
    for first, number, rows in ((0, tiles - 1, height), ((tiles - 1) * height, 1, tail)):
        if not number:
            continue
        part = slice(first * slices, (first + number * rows) * slices)
        padding = number * rows * slices - len(weights[part])
        parts.append(pack_tiles(
            np.pad(codes[part], ((0, padding), (0, halves * HALF - weights.shape[1]))),
            np.pad(scales[part], ((0, padding), (0, 0))), format, slices, number, rows))
    return b"".join(parts)


def pack_tiles(codes, scales, format, slices, tiles, rows):
    """Bytes of tiles of equal height, whose codes and scales are padded."""
    halves = codes.shape[1] // HALF
    # Axes: tile, row, slice, half, byte.
    w = codes.reshape(tiles, rows, slices, halves, HALF)
    if named(format).four:
        w = w.reshape(tiles, rows // 2, 2, slices, halves, HALF)
        w = w[:, :, 0] | w[:, :, 1] << 4
    z = scales.dtype.itemsize
    runs = scales.reshape(tiles, rows, slices, -1)
    sections = []
    for first, number, beats in groups(scales.shape[1], rows, z):
        run = runs[:, :, :, first:first + number].transpose(0, 2, 3, 1)
        run = np.ascontiguousarray(run).view(np.uint8).reshape(tiles, slices, number * rows * z)
        run = np.pad(run, ((0, 0), (0, 0), (0, beats * PIECE - run.shape[2])))
        run = run.reshape(tiles, slices, beats, PIECE).transpose(0, 2, 1, 3)
        sections.append(run.reshape(tiles, -1))
        for block in range(first, first + number):
            # Order on the tape: row, half, slice, byte.
            section = w[:, :, :, 2 * block:2 * block + 2].transpose(0, 1, 3, 2, 4)
            sections.append(section.reshape(tiles, -1))
    return np.concatenate(sections, axis=1).tobytes()


def unpack(tape, shape, format, slices, scale_type=np.uint16):
    """``(weights, scales)`` of a matrix of ``shape`` from its tape; the inverse of :func:`pack`.

    Weights are integers; scales have ``scale_type``: bits of FP16, or E8M0 codes in uint8.
    """
    rows, size = shape
    z = np.dtype(scale_type).itemsize
    beats = tape_beats(shape, format, slices, z)
    if len(tape) != beats * PIECE * slices:
        raise ValueError(f"the tape must have {beats * PIECE * slices} bytes, not {len(tape)}")
    tape = np.frombuffer(tape, np.uint8)
    tiles, height, tail = tiling(rows, slices, format)
    split = len(tape) - tape_beats((tail * slices, size), format, slices, z) * PIECE * slices
    parts = [unpack_tiles(part.reshape(number, -1), size, format, slices, tile_rows, scale_type)
             for part, number, tile_rows in ((tape[:split], tiles - 1, height),
                                             (tape[split:], 1, tail)) if number]
    weights, scales = (np.concatenate(arrays)[:rows] for arrays in zip(*parts))
    return weights[:, :size], scales


def unpack_tiles(tape, size, format, slices, rows, scale_type):
    """Weights and scales of tiles of equal height; ``tape`` has a row for each tile."""
    tiles = len(tape)
    blocks, halves = tile_shape(size, format)
    z = np.dtype(scale_type).itemsize
    element, step = named(format).element, named(format).step
    lines = rows // step
    scales = np.zeros((tiles, rows, slices, blocks), scale_type)
    w = np.zeros((tiles, lines, slices, halves, HALF), np.uint8)
    position = 0

    def take(*axes):
        nonlocal position
        count = int(np.prod(axes))
        position += count
        return tape[:, position - count:position].reshape(tiles, *axes)

    for first, number, beats in groups(blocks, rows, z):
        run = take(beats, slices, PIECE).transpose(0, 2, 1, 3).reshape(tiles, slices, -1)
        run = np.ascontiguousarray(run[:, :, :number * rows * z]).view(scale_type)
        run = run.reshape(tiles, slices, number, rows)
        scales[:, :, :, first:first + number] = run.transpose(0, 3, 1, 2)
        for block in range(first, first + number):
            own = min(2, halves - 2 * block)
            section = take(lines, own, slices, HALF).transpose(0, 1, 3, 2, 4)
            w[:, :, :, 2 * block:2 * block + own] = section
    if step == 2:
        w = np.stack([w & 15, w >> 4], axis=2)
    return (element.decode(w).reshape(tiles * rows * slices, halves * HALF),
            scales.reshape(tiles * rows * slices, blocks))
