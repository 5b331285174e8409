"""Bytes of the keys and values of one head, as section 4 of interfaces.md lays them out."""

import numpy as np

from hw.formats import KV
from verif.reference.pattern import slot


__all__ = ["block_place", "Places", "kv_write", "kv_read", "kv_blocks", "bounds_write",
           "bounds_read", "bounds_blocks"]


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


def key_places(config, start, token, head_blocks):
    """Byte offsets of the elements and codes of one token's keys in the block at byte ``start``."""
    # The token is a row of a matrix, in tiles of `height` rows a slice.
    height, beat = config.key_height, config.beat_bytes
    tile, row = divmod(token, height * config.slices)
    i, s = divmod(row, config.slices)
    together = config.scale_group(height, 1)
    group_beats = 1 + 2 * height * together
    b = np.arange(head_blocks)
    group, inside = b // together, b % together
    tile_beats = config.key_beats(head_blocks) // config.key_tiles
    scale_beat = tile * tile_beats + group * group_beats
    codes = start + scale_beat * beat + 16 * s + inside * height + i
    first_beat = scale_beat + 1 + 2 * (inside * height + i)
    n = np.arange(BLOCK * head_blocks)
    half = n % BLOCK // 16
    return start + (first_beat[n // BLOCK] + half) * beat + 16 * s + n % 16, codes


def bounds_places(config, base, page, head_blocks):
    """Byte offsets of the bounds of a page, which are keys of ``2 * head_blocks`` blocks."""
    block, token = divmod(page, BLOCK)
    start = (base + block * config.bounds_lines(head_blocks)) * config.line_bytes
    return key_places(config, start, token, 2 * head_blocks)


class Places:
    """Byte offsets of one token's elements and codes, from the first byte of the image.

    Arrays of offsets: ``keys`` [D], ``key_codes`` [D/32], ``values`` [D], and ``value_code``. The
    token is in the KV block at ``place``, by default that of its number.
    """

    def __init__(self, config, base, position, head_blocks, place=None):
        block, token = divmod(position, BLOCK)
        place = block if place is None else place
        start = (base + place * config.kv_lines(head_blocks)) * config.line_bytes
        self.keys, self.key_codes = key_places(config, start, token, head_blocks)
        beat, n = config.beat_bytes, np.arange(BLOCK * head_blocks)

        # Codes of the values, one byte a token, then the values. Tokens of a small head share
        # beats: of each half of the block, those at a distance of `pitch`.
        start += config.key_beats(head_blocks) * beat
        self.value_code = start + token
        start += config.value_scale_beats * beat
        group, channel = np.divmod(n, 16 * config.slices)
        i, s = np.divmod(channel, config.slices)
        pitch = config.value_pitch(head_blocks)
        half, (above, inside) = token // 16, divmod(token % 16, pitch)
        row = group * BLOCK + half * pitch + inside
        self.values = start + row * beat + 16 * s + above * pitch + i


def kv_write(image, config, base, position, k, k_codes, v, v_code, **where):
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
    where
        ``ring``, ``sinks`` and ``table`` of :func:`block_place`.
    """
    places = Places(config, base, position, len(k) // BLOCK,
                    block_place(position // BLOCK, **where))
    image[places.keys] = np.asarray(k).view(np.uint8)
    image[places.key_codes] = k_codes
    image[places.values] = np.asarray(v).view(np.uint8)
    image[places.value_code] = v_code


def kv_read(image, config, base, count, head_blocks, kv="int8", **where):
    """Keys and values of tokens 0..count-1 of one head: ``(k, k_codes, v, v_codes)``.

    The arrays are as :func:`verif.reference.attention.attention` takes them; ``kv`` is a name of
    :data:`hw.formats.KV`; ``where`` is as of :func:`kv_write`. Of a ring's block that was written
    again, the tokens are the later ones.
    """
    element = KV[kv]
    places = [Places(config, base, position, head_blocks, block_place(position // BLOCK, **where))
              for position in range(count)]
    k = element.decode([image[place.keys] for place in places])
    k_codes = np.array([image[place.key_codes] for place in places], np.uint8)
    v = element.decode([image[place.values] for place in places])
    v_codes = np.array([image[place.value_code] for place in places], np.uint8)
    return k, k_codes, v, v_codes


def kv_blocks(config, k, k_codes, v, v_codes):
    """Bytes of the KV blocks of one head, ``uint8 [blocks, bytes to the next block]``.

    What :func:`kv_write` writes for tokens 0, 1, ..., but all at once; other bytes are 0.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    k, k_codes : uint8 [T, D], uint8 [T, D/32]
        Codes of the keys' elements; T is a multiple of 32.
    v, v_codes : uint8 [T, D], uint8 [T]
    """
    head_blocks = k_codes.shape[-1]
    places = [Places(config, 0, token, head_blocks) for token in range(BLOCK)]
    return blocks_of(config.kv_lines(head_blocks) * config.line_bytes,
                     [([place.keys for place in places], k),
                      ([place.key_codes for place in places], k_codes),
                      ([place.values for place in places], v),
                      ([place.value_code for place in places], v_codes)])


def blocks_of(size, parts):
    """``uint8 [blocks, size]``: of each part the offsets of 32 rows in a block, and all rows."""
    image = np.zeros((len(parts[0][1]) // BLOCK, size), np.uint8)
    for offsets, rows in parts:
        image[:, offsets] = rows.reshape(-1, BLOCK, *rows.shape[1:])
    return image




def bounds_write(image, config, base, page, bounds, codes):
    """Write the bounds of a page of one head into ``image``, a uint8 array, in place.

    ``bounds`` is uint8 or int8 [2 D], maxima before minima, ``codes`` uint8 [2 D/32].
    """
    elements, scales = bounds_places(config, base, page, len(bounds) // (2 * BLOCK))
    image[elements] = np.asarray(bounds).view(np.uint8)
    image[scales] = codes


def bounds_read(image, config, base, count, head_blocks, kv="int8"):
    """Bounds of pages 0..count-1 of one head, [count, 2 D], and their codes."""
    places = [bounds_places(config, base, page, head_blocks) for page in range(count)]
    return (KV[kv].decode([image[elements] for elements, _ in places]),
            np.array([image[scales] for _, scales in places], np.uint8))


def bounds_blocks(config, bounds, codes):
    """Bytes of the blocks of bounds of one head, ``uint8 [blocks, bytes to the next block]``.

    Parameters
    ----------
    bounds, codes : uint8 [pages, 2 D], uint8 [pages, 2 D/32]
        Codes of elements: maxima before minima, a row for each page.
    """
    head_blocks = codes.shape[-1] // 2
    bounds, codes = (np.pad(rows, ((0, -len(rows) % BLOCK), (0, 0))) for rows in (bounds, codes))
    elements, scales = zip(*(bounds_places(config, 0, page, head_blocks) for page in range(BLOCK)))
    return blocks_of(config.bounds_lines(head_blocks) * config.line_bytes,
                     [(list(elements), bounds), (list(scales), codes)])
