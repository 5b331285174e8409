"""Keys and values between memory and the machine: walks, appends, and lists of chosen pages."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hw import register_map as rm
from hw.formats import KV
from verif.reference.kv import Cells, Places
from verif.reference.pattern import BLOCK, blocks_read, chosen_blocks, slot

from .fault import Fault


__all__ = ["Part", "block_places", "run_append", "run_choose", "run_walk"]


#: Pages from this one on are left out of lists.
MOST_PAGES = 1 << 22


class Part(NamedTuple):
    """What the D stream delivers at once.

    ``kind`` is ``keys``, ``values``, ``bounds`` or ``beats``.
    ``walk`` is the command that it belongs to, ``number`` that of its KV block; ``first`` and
    ``last`` say whether it is the first and the last of its kind in the walk.
    """

    kind: str
    walk: object
    number: int
    first: bool
    last: bool
    raw: np.ndarray


class Owed(NamedTuple):
    """Values whose keys were read."""

    walk: object
    number: int
    first: bool
    last: bool
    address: int
    beats: int


@lru_cache(maxsize=16)
def block_places(config, head_blocks, kv="int8"):
    """Where the elements and codes of a KV block lie, with a row for each of 32 tokens.

    ``(keys, key codes, values, value code)``, elements as :class:`.Cells`, codes as byte offsets;
    those of values in the part of values, the others in the part of keys.
    """
    packed = KV[kv].packed
    split = config.part_beats(head_blocks, packed)[0] * config.beat_bytes
    places = [Places(config, 0, token, head_blocks, packed=packed) for token in range(BLOCK)]
    keys, values = (Cells.stack([getattr(place, name) for place in places])
                    for name in ("keys", "values"))
    key_codes, value_code = (np.array([getattr(place, name) for place in places])
                             for name in ("key_codes", "value_code"))
    return keys, key_codes, values + -split, value_code


def block_line(m, f, number, lines):
    """First line of KV block ``number`` of a head at ``f.address``."""
    place = slot(number, f.ring, f.sinks)
    table, entries = f.table
    if entries:
        if place >= entries:
            raise Fault(rm.Cause.TABLE)
        raw = m.read_memory(table * m.config.line_bytes + 4 * place, 4)
        place = int(raw.view("<u4")[0])
    return (f.address + place * lines) % 2**32


def run_walk(m, f):
    """Read the blocks that a head's queries need; keys go ahead of values."""
    if f.pattern == "bounds":
        yield from read_bounds(m, f)
        return
    numbers = yield from numbers_to_read(m, f)
    packed = KV[f.kv].packed
    lines, (key_beats, value_beats) = (m.config.kv_lines(f.head_blocks, packed),
                                       m.config.part_beats(f.head_blocks, packed))
    held = 0 if f.forward else max(0, f.count - f.span) // BLOCK
    waits = f.take0 != 0
    for n, number in enumerate(numbers):
        while waits and number >= held:
            # Values that are owed need not wait for what these keys wait for.
            yield lambda: m.semaphores[f.take0] > 0 or m.owed
            if m.semaphores[f.take0] > 0:
                m.semaphores[f.take0] -= 1
                waits = False
            else:
                yield from pay(m)
        first, last = n == 0, n == len(numbers) - 1
        address = block_line(m, f, number, lines) * m.config.line_bytes
        yield from read(m, Part("keys", f, number, first, last, None), address, key_beats)
        m.owed.append(Owed(f, number, first, last, address + key_beats * m.config.beat_bytes,
                           value_beats))
        while len(m.owed) > m.config.keys_ahead:
            yield from pay(m)
    while m.owed and not (chained(m) and m.owed[0].walk is f):
        yield from pay(m)


def read_bounds(m, f):
    """Read the blocks that hold the bounds of ``count`` pages."""
    while m.owed:
        yield from pay(m)
    blocks = -(-f.count // BLOCK)
    for number in range(blocks):
        line = f.address + number * m.config.bounds_lines(f.head_blocks, KV[f.kv].packed)
        part = Part("bounds", f, number, number == 0, number == blocks - 1, None)
        yield from read(m, part, line * m.config.line_bytes,
                        m.config.key_beats(2 * f.head_blocks, KV[f.kv].packed))


def numbers_to_read(m, f):
    """Numbers of the KV blocks of a walk."""
    chosen = ()
    if f.pattern == "chosen":
        yield lambda: len(m.choices) > 0
        chosen = chosen_blocks(m.choices.popleft(), f.page)
    return blocks_read(f.count, f.span, f.window, f.sinks, chosen)


def chained(m):
    """Whether keys of the next walk may come before values of this one."""
    unit = m.units["d"]
    return unit.next == "walk" and bool(unit.queue[0][1].chain)


def read(m, part, address, beats):
    """Bring a part to the D stream when there is room."""
    yield lambda: m.d_room(beats)
    raw = m.read_memory(address, beats * m.config.beat_bytes).copy()
    m.d_fifo.append(part._replace(raw=raw))
    m.count("d_words", address, len(raw))


def pay(m):
    """Read the oldest values that are owed."""
    owed = m.owed.popleft()
    yield from read(m, Part("values", owed.walk, owed.number, owed.first, owed.last, None),
                    owed.address, owed.beats)


def run_append(m, f):
    """Write keys, then values, of tokens, or bounds of pages: of each head those of all tokens."""
    yield 0
    rows = 2 * f.head_blocks if f.bounds else f.head_blocks
    packed = KV[f.kv].packed
    lines = (m.config.bounds_lines if f.bounds else m.config.kv_lines)(f.head_blocks, packed)
    beats = (m.config.key_beats if f.bounds else m.config.kv_beats)(rows, packed)
    tokens = []
    for position in range(f.count, f.count + f.more + 1):
        number, token = divmod(position, BLOCK)
        line = number * lines + f.address if f.bounds else block_line(m, f, number, lines)
        tokens.append((line, Places(m.config, 0, token, rows, packed=packed)))
    staged = 2 * f.heads * f.head_blocks if f.behind else 0
    for kind in ("keys",) if f.bounds else ("keys", "values"):
        for head in range(f.heads):
            for line, places in tokens:
                for _ in range(rows):
                    yield f.take0
                start = (line + head * f.head_stride) * m.config.line_bytes
                m.check_write(start, beats * m.config.beat_bytes)
                blocks = slice(staged, staged + rows)
                (getattr(places, kind) + start).put(m.memory, m.staging[blocks].reshape(-1))
                codes = m.staging_codes[blocks]
                if kind == "keys":
                    m.memory[start + places.key_codes] = codes
                else:
                    m.memory[start + places.value_code] = codes[0]
                staged += rows
                for _ in range(rows):
                    m.raise_counter(f.raise1)
            if f.bounds or kind == "values":
                yield 0
                m.raise_counter(f.raise0)


def run_choose(m, f):
    """Read a list of pages and hand it to a walk; it rests when the walk has it."""
    yield 0
    raw = m.read_memory(f.address * m.config.line_bytes, 4 * f.entries)
    pages = raw.view("<u4").tolist()
    if any(page <= before for before, page in zip(pages, pages[1:])):
        raise Fault(rm.Cause.CHOICE)
    sent = [page for page in pages if page < min(f.count, MOST_PAGES)]
    m.choices.append(sent)
    yield lambda: not any(pages is sent for pages in m.choices)
