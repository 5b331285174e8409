"""Bytes of the keys and values of one head, as section 4 of interfaces.md lays them out."""

import numpy as np

from hw.formats import KV


__all__ = ["kv_write", "kv_read", "kv_blocks", "bounds_blocks"]


#: Tokens in a KV block, and elements that share a key's code.
BLOCK = 32


class Places:
    """Byte offsets of one token's elements and codes, from the first byte of the image.

    Arrays of offsets: ``keys`` [D], ``key_codes`` [D/32], ``values`` [D], and ``value_code``.
    """

    def __init__(self, config, base, position, head_blocks):
        block, token = divmod(position, BLOCK)
        start = (base + block * config.kv_lines(head_blocks)) * config.line_bytes
        beat = config.beat_bytes

        # Keys: the token is a row of a matrix, in tiles of `height` rows a slice.
        height = config.key_height
        tile, row = divmod(token, height * config.slices)
        i, s = divmod(row, config.slices)
        together = config.scale_group(height, 1)
        group_beats = 1 + 2 * height * together
        b = np.arange(head_blocks)
        group, inside = b // together, b % together
        tile_beats = config.key_beats(head_blocks) // config.key_tiles
        scale_beat = tile * tile_beats + group * group_beats
        self.key_codes = start + scale_beat * beat + 16 * s + inside * height + i
        first_beat = scale_beat + 1 + 2 * (inside * height + i)
        n = np.arange(BLOCK * head_blocks)
        half = n % BLOCK // 16
        self.keys = start + (first_beat[n // BLOCK] + half) * beat + 16 * s + n % 16

        # Codes of the values, one byte a token, then the values, a beat for each token.
        start += config.key_beats(head_blocks) * beat
        self.value_code = start + token
        start += config.value_scale_beats * beat
        group, channel = np.divmod(n, 16 * config.slices)
        i, s = np.divmod(channel, config.slices)
        self.values = start + (group * BLOCK + token) * beat + 16 * s + i


def kv_write(image, config, base, position, k, k_codes, v, v_code):
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
    """
    places = Places(config, base, position, len(k) // BLOCK)
    image[places.keys] = np.asarray(k).view(np.uint8)
    image[places.key_codes] = k_codes
    image[places.values] = np.asarray(v).view(np.uint8)
    image[places.value_code] = v_code


def kv_read(image, config, base, count, head_blocks, kv="int8"):
    """Keys and values of tokens 0..count-1 of one head: ``(k, k_codes, v, v_codes)``.

    The arrays are as :func:`verif.reference.attention.attention` takes them; ``kv`` is a name of
    :data:`hw.formats.KV`.
    """
    element = KV[kv]
    places = [Places(config, base, position, head_blocks) for position in range(count)]
    k = element.decode([image[place.keys] for place in places])
    k_codes = np.array([image[place.key_codes] for place in places], np.uint8)
    v = element.decode([image[place.values] for place in places])
    v_codes = np.array([image[place.value_code] for place in places], np.uint8)
    return k, k_codes, v, v_codes


def block_offsets(config, head_blocks):
    """:class:`Places` of the 32 tokens of a block, as arrays with a row for each token."""
    places = [Places(config, 0, token, head_blocks) for token in range(BLOCK)]
    return (np.array([getattr(place, name) for place in places])
            for name in ("keys", "key_codes", "values", "value_code"))


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
    image = np.zeros((len(k) // BLOCK, config.kv_lines(head_blocks) * config.line_bytes), np.uint8)
    for places, values in zip(block_offsets(config, head_blocks), (k, k_codes, v, v_codes)):
        image[:, places] = values.reshape(-1, *places.shape)
    return image


def bounds_blocks(config, bounds, codes):
    """Bytes of the blocks of bounds of one head, ``uint8 [blocks, bytes to the next block]``.

    Parameters
    ----------
    bounds, codes : uint8 [pages, 2 D], uint8 [pages, 2 D/32]
        Codes of elements: maxima before minima, a row for each page.
    """
    head_blocks = codes.shape[-1]
    count = -(-len(bounds) // BLOCK)
    lines = config.bounds_lines(head_blocks // 2)
    image = np.zeros((count, lines * config.line_bytes), np.uint8)
    keys, key_codes, *_ = block_offsets(config, head_blocks)
    for places, values in ((keys, bounds), (key_codes, codes)):
        values = np.pad(values, ((0, count * BLOCK - len(values)), (0, 0)))
        image[:, places] = values.reshape(-1, *places.shape)
    return image
