"""What the memory system reads and writes, as lists of requests and changes of an image."""

import numpy as np

from hw.formats import KV
from verif.reference.kv import block_place, bounds_write, kv_write
from verif.reference.pattern import blocks_read, slot


__all__ = ["global_address", "channel_address", "bursts", "walk", "gather", "scatter", "append",
           "load", "choose"]

BLOCK = 32
BLOCK_BYTES = 4 * BLOCK

#: Kinds of parts, as :class:`hw.signatures.Part` numbers them.
KEYS, VALUES, BOUNDS = range(3)


def channel_address(address, config):
    """``(channel, address in the channel)`` of a byte of the machine's memory."""
    size = config.data_bits // 8
    word, byte = divmod(address, config.word_bytes)
    return byte // size, word * size + byte % size


def global_address(address, channel, config):
    """The byte of the machine's memory at ``address`` of a channel."""
    size = config.data_bits // 8
    word, byte = divmod(address, size)
    return word * config.word_bytes + channel * size + byte


def bursts(address, words, config):
    """``(address, words)`` of the bursts that read a run of words: cut at aligned bursts.

    Reference for :class:`hw.memory.bursts.Bursts` and :class:`hw.memory.reader.Reader`.
    """
    result, span = [], config.burst * config.word_bytes
    while words:
        taken = min(words, (span - address % span) // config.word_bytes)
        result.append((address, taken))
        address, words = address + taken * config.word_bytes, words - taken
    return result


def walk(address, count, head_blocks, config, *, span=1, window=0, sinks=0, ring=0, chosen=(),
         bounds=False, table=None, kv="int8", forward=False):
    """Parts of the blocks that a walk reads: for each block keys and values, or only bounds.

    A part is ``(announcement, byte address, beats)``, the announcement a dict of what
    :data:`hw.signatures.kv_part` holds. ``chosen`` are numbers of blocks; ``table`` is the block
    table, an :class:`IndexError` is raised if a block lies beyond it. The order of the parts of a
    chain of walks is :func:`verif.reference.pattern.parts`.

    Reference for :class:`hw.memory.walker.Walker`.
    """
    packed = KV[kv].packed
    stride = (config.bounds_lines if bounds else config.kv_lines)(head_blocks, packed)
    if bounds:
        numbers, lengths = blocks_read(count), {BOUNDS: config.key_beats(2 * head_blocks, packed)}
    else:
        numbers = blocks_read(count, span, window, sinks, chosen)
        lengths = dict(zip((KEYS, VALUES), config.part_beats(head_blocks, packed)))
    result = []
    for number in numbers:
        place = number if bounds else slot(number, ring, sinks)
        if table is not None and not bounds:
            place = int(table[place])
        byte = (address + place * stride) % 2**32 * config.line_bytes
        known = {"head_blocks": head_blocks, "packed": int(packed), "number": number,
                 "first": int(number == numbers[0]), "last": int(number == numbers[-1])}
        known["forward"] = known["last"] & int(forward)
        parts = []
        for kind, beats in lengths.items():
            parts.append(({"kind": kind, **known}, byte, beats))
            byte += beats * config.beat_bytes
        result.append(tuple(parts))
    return result


def gather(image, workspace, address, dst, blocks, config):
    """Copy FP32 blocks from memory into the workspace, an array of uint32, in place.

    Reference for :class:`hw.memory.gather.Gather`.
    """
    start = address * config.line_bytes
    data = image[start:start + blocks * BLOCK_BYTES].view("<u4")
    workspace[dst * BLOCK:(dst + blocks) * BLOCK] = data


def scatter(image, workspace, address, a, blocks, config):
    """Copy FP32 blocks from the workspace into memory, in place.

    Reference for :class:`hw.memory.scatter.Scatter`.
    """
    start = address * config.line_bytes
    data = workspace[a * BLOCK:(a + blocks) * BLOCK].astype("<u4").view(np.uint8)
    image[start:start + blocks * BLOCK_BYTES] = data


def append(image, staging, codes, address, position, heads, head_blocks, head_stride, config, *,
           ring=0, sinks=0, bounds=False, table=None, more=0, behind=False, kv="int8"):
    """Write the staged keys and values of the tokens from ``position`` on into memory, in place.

    There are ``more`` tokens behind the first. With ``behind`` the blocks of another token are
    staged before them. ``staging`` is int8 [.., 32]: keys, then values, of
    each head those of all tokens, of each token ``head_blocks`` blocks. ``codes`` has one code for
    each block. With ``bounds`` it holds the bounds of pages from ``position`` on, of each head
    those of all pages. ``table`` is the block table, or None; a block beyond it is an
    :class:`IndexError`, and nothing is written.

    Reference for :class:`hw.memory.append.Append`.
    """
    tokens = 1 + more
    number = 2 * tokens * heads * head_blocks
    first = 2 * heads * head_blocks if behind else 0
    staging, codes = staging[first:first + number], np.asarray(codes)[first:first + number]
    if bounds:
        shape = (heads, tokens, 2 * head_blocks)
        elements, codes = staging.reshape(*shape, BLOCK), codes.reshape(shape)
        for head, token in np.ndindex(heads, tokens):
            bounds_write(image, config, address + head * head_stride, position + token,
                         elements[head, token].reshape(-1), codes[head, token], kv)
        return
    where = dict(ring=ring, sinks=sinks, table=table)
    for token in range(tokens):
        block_place((position + token) // BLOCK, **where)
    shape = (2, heads, tokens, head_blocks)
    elements, codes = staging.reshape(*shape, BLOCK), codes.reshape(shape)
    for head, token in np.ndindex(heads, tokens):
        (keys, values), (key_codes, value_codes) = elements[:, head, token], codes[:, head, token]
        kv_write(image, config, address + head * head_stride, position + token, keys.reshape(-1),
                 key_codes, values.reshape(-1), value_codes[0], kv=kv, **where)


def load(image, address, index, config):
    """The 32-bit value ``index`` of those that start at line ``address``.

    Reference for :class:`hw.memory.load.Load`.
    """
    start = address * config.line_bytes + 4 * index
    return int(image[start:start + 4].view("<u4")[0])


def choose(image, address, entries, count, config):
    """The pages of the list at line ``address``, those below ``count``; and whether it is legal.

    Of an illegal list, one that is not strictly ascending, they are those before the first number
    that is not above the one before it. Reference for :class:`hw.memory.pages.Pages`.
    """
    start = address * config.line_bytes
    numbers = image[start:start + 4 * entries].view("<u4").astype(np.int64)
    wrong = np.flatnonzero(np.diff(numbers) <= 0)
    sent = numbers[:wrong[0] + 1] if len(wrong) else numbers
    return [int(page) for page in sent if page < min(count, 2**22)], not len(wrong)
