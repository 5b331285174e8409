"""Bytes of the keys and values of one head, as section 4 of interfaces.md lays them out."""

from typing import NamedTuple

import numpy as np

from hw.formats import KV
from verif.reference.pattern import slot


__all__ = ["block_place", "Cells", "Places", "unfold", "kv_write", "kv_read", "kv_blocks",
           "bounds_write", "bounds_read", "bounds_blocks"]


#: Tokens in a KV block, and elements that share a key's code.
BLOCK = 32


def block_place(number, ring=0, sinks=0, table=None):
    """Place of a KV block of a head, counted in blocks from ``base``.

    ``ring`` and ``sinks`` are as of :func:`.slot`; ``table`` is a sequence of places, or None.
    Raises :class:`IndexError` if the block is beyond the table. Reference for
    :class:`hw.memory.finder.Finder`.
    """
    index = slot(number, ring, sinks)
    if table is None:
        return index
    if index >= len(table):
        raise IndexError(f"block {index} is beyond the block table of {len(table)} entries")
    return int(table[index])


class Cells(NamedTuple):
    """Where elements lie: offsets of bytes, and of packed ones whether in the upper half.

    Elements are bytes. Packed ones have zeros in the lower half of theirs, and memory has not.
    """

    offsets: np.ndarray
    upper: np.ndarray | None = None

    def get(self, image):
        """Elements, an array of bytes of the shape of ``offsets``."""
        found = image[self.offsets]
        return found if self.upper is None else np.where(self.upper, found, found << 4) & 0xF0

    def put(self, image, elements):
        """Write elements, bytes; packed ones fill whole bytes. There may be axes before."""
        elements = np.asarray(elements).view(np.uint8)
        if self.upper is None:
            image[..., self.offsets] = elements
            return
        image[..., self.offsets[~self.upper]] = elements[..., ~self.upper] >> 4
        image[..., self.offsets[self.upper]] |= elements[..., self.upper] & 0xF0

    def __add__(self, distance):
        return Cells(self.offsets + distance, self.upper)

    @staticmethod
    def stack(cells):
        """Cells of several tokens, one for each row."""
        offsets, upper = zip(*cells)
        return Cells(np.array(offsets), None if upper[0] is None else np.array(upper))


def cells(config, start, beats, slices, places, packed):
    """:class:`Cells` at places in the pieces of slices, in beats behind byte ``start``.

    Packed, two beats are one: in each piece the first one has the first eight bytes.
    """
    if not packed:
        return Cells(start + beats * config.beat_bytes + 16 * slices + places)
    inside = 8 * (beats % 2) + places // 2
    return Cells(start + beats // 2 * config.beat_bytes + 16 * slices + inside, places % 2 == 1)


def unfold(beats):
    """The two beats of bytes that become of each packed one: uint8 [n, bytes] to [2 n, bytes].

    Reference for :class:`hw.attention.unfold.Unfold`.
    """
    pieces = np.asarray(beats, np.uint8).reshape(len(beats), -1, 2, 8)
    elements = np.stack([pieces << 4, pieces & 0xF0], axis=-1)
    return np.moveaxis(elements, 2, 1).reshape(2 * len(beats), -1)


def key_places(config, start, token, head_blocks, packed=False):
    """:class:`Cells` of one token's keys in the block at byte ``start``, and offsets of codes."""
    # The token is a row of a matrix, in tiles of `height` rows a slice.
    height, beat = config.key_height, config.beat_bytes
    tile, row = divmod(token, height * config.slices)
    i, s = divmod(row, config.slices)
    together = config.scale_group(height, 1)
    group_beats = 1 + (1 if packed else 2) * height * together
    b = np.arange(head_blocks)
    group, inside = b // together, b % together
    tile_beats = config.key_beats(head_blocks, packed) // config.key_tiles
    scale_beat = tile * tile_beats + group * group_beats
    codes = start + scale_beat * beat + 16 * s + inside * height + i
    n = np.arange(BLOCK * head_blocks)
    block, half = n // BLOCK, n % BLOCK // 16
    section = start + (scale_beat[block] + 1) * beat
    return cells(config, section, 2 * (inside[block] * height + i) + half, s, n % 16, packed), codes


def bounds_places(config, base, page, head_blocks, packed=False):
    """Where the bounds of a page lie, which are keys of ``2 * head_blocks`` blocks."""
    block, token = divmod(page, BLOCK)
    start = (base + block * config.bounds_lines(head_blocks, packed)) * config.line_bytes
    return key_places(config, start, token, 2 * head_blocks, packed)


class Places:
    """Where one token's elements and codes lie, from the first byte of the image.

    :class:`Cells` of ``keys`` and ``values`` [D]; offsets ``key_codes`` [D/32] and ``value_code``.
    The token is in the KV block at ``place``, by default that of its number.
    """

    def __init__(self, config, base, position, head_blocks, place=None, packed=False):
        block, token = divmod(position, BLOCK)
        place = block if place is None else place
        start = (base + place * config.kv_lines(head_blocks, packed)) * config.line_bytes
        self.keys, self.key_codes = key_places(config, start, token, head_blocks, packed)
        beat, n = config.beat_bytes, np.arange(BLOCK * head_blocks)

        # Codes of the values, one byte a token, then the values. Tokens of a small head share
        # beats: of each half of the block, those at a distance of `pitch`.
        start += config.key_beats(head_blocks, packed) * beat
        self.value_code = start + token
        start += config.value_scale_beats * beat
        group, channel = np.divmod(n, 16 * config.slices)
        i, s = np.divmod(channel, config.slices)
        pitch = config.value_pitch(head_blocks)
        half, (above, inside) = token // 16, divmod(token % 16, pitch)
        row = group * BLOCK + half * pitch + inside
        self.values = cells(config, start, row, s, above * pitch + i, packed)


def kv_write(image, config, base, position, k, k_codes, v, v_code, kv="int8", **where):
    """Write the token at ``position`` of one head into ``image``, a uint8 array, in place.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    base : int
        First line of the head.
    k, k_codes : uint8 [D], uint8 [D/32]
        Bytes of the keys' elements; those of INT8 may also be int8.
    v, v_code : uint8 [D], int
        D is padded to whole blocks of 32.
    kv : str
        A name of :data:`hw.formats.KV`.
    where
        ``ring``, ``sinks`` and ``table`` of :func:`block_place`.
    """
    places = Places(config, base, position, len(k) // BLOCK,
                    block_place(position // BLOCK, **where), KV[kv].packed)
    places.keys.put(image, k)
    image[places.key_codes] = k_codes
    places.values.put(image, v)
    image[places.value_code] = v_code


def kv_read(image, config, base, count, head_blocks, kv="int8", **where):
    """Keys and values of tokens 0..count-1 of one head: ``(k, k_codes, v, v_codes)``.

    The arrays are as :func:`verif.reference.attention.attention` takes them; ``kv`` is a name of
    :data:`hw.formats.KV`; ``where`` is as of :func:`kv_write`. Of a ring's block that was written
    again, the tokens are the later ones.
    """
    element = KV[kv]
    places = [Places(config, base, position, head_blocks, block_place(position // BLOCK, **where),
                     element.packed) for position in range(count)]
    k = element.decode([place.keys.get(image) for place in places])
    k_codes = np.array([image[place.key_codes] for place in places], np.uint8)
    v = element.decode([place.values.get(image) for place in places])
    v_codes = np.array([image[place.value_code] for place in places], np.uint8)
    return k, k_codes, v, v_codes


def kv_blocks(config, k, k_codes, v, v_codes, kv="int8"):
    """Bytes of the KV blocks of one head, ``uint8 [blocks, bytes to the next block]``.

    What :func:`kv_write` writes for tokens 0, 1, ..., but all at once; other bytes are 0.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    k, k_codes : uint8 [T, D], uint8 [T, D/32]
        Codes of the keys' elements; T is a multiple of 32.
    v, v_codes : uint8 [T, D], uint8 [T]
    kv : str
        A name of :data:`hw.formats.KV`.
    """
    head_blocks, packed = k_codes.shape[-1], KV[kv].packed
    places = [Places(config, 0, token, head_blocks, packed=packed) for token in range(BLOCK)]
    return blocks_of(config.kv_lines(head_blocks, packed) * config.line_bytes,
                     [(Cells.stack([place.keys for place in places]), k),
                      (Cells(np.array([place.key_codes for place in places])), k_codes),
                      (Cells.stack([place.values for place in places]), v),
                      (Cells(np.array([place.value_code for place in places])), v_codes)])


def blocks_of(size, parts):
    """``uint8 [blocks, size]``: of each part :class:`Cells` of 32 rows in a block, and all rows."""
    image = np.zeros((len(parts[0][1]) // BLOCK, size), np.uint8)
    for cells, rows in parts:
        cells.put(image, rows.reshape(-1, BLOCK, *rows.shape[1:]))
    return image


def bounds_write(image, config, base, page, bounds, codes, kv="int8"):
    """Write the bounds of a page of one head into ``image``, a uint8 array, in place.

    ``bounds`` is uint8 or int8 [2 D], maxima before minima, ``codes`` uint8 [2 D/32].
    """
    elements, scales = bounds_places(config, base, page, len(bounds) // (2 * BLOCK),
                                     KV[kv].packed)
    elements.put(image, bounds)
    image[scales] = codes


def bounds_read(image, config, base, count, head_blocks, kv="int8"):
    """Bounds of pages 0..count-1 of one head, [count, 2 D], and their codes."""
    places = [bounds_places(config, base, page, head_blocks, KV[kv].packed)
              for page in range(count)]
    return (KV[kv].decode([elements.get(image) for elements, _ in places]),
            np.array([image[scales] for _, scales in places], np.uint8))


def bounds_blocks(config, bounds, codes, kv="int8"):
    """Bytes of the blocks of bounds of one head, ``uint8 [blocks, bytes to the next block]``.

    Parameters
    ----------
    bounds, codes : uint8 [pages, 2 D], uint8 [pages, 2 D/32]
        Codes of elements: maxima before minima, a row for each page.
    """
    head_blocks = codes.shape[-1] // 2
    bounds, codes = (np.pad(rows, ((0, -len(rows) % BLOCK), (0, 0))) for rows in (bounds, codes))
    packed = KV[kv].packed
    elements, scales = zip(*(bounds_places(config, 0, page, head_blocks, packed)
                             for page in range(BLOCK)))
    return blocks_of(config.bounds_lines(head_blocks, packed) * config.line_bytes,
                     [(Cells.stack(elements), bounds), (Cells(np.array(scales)), codes)])
