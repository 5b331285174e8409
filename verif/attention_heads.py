"""Commands for the attention engine, with operands, beats, and what is expected of them."""

from dataclasses import dataclass, field

import numpy as np

from hw import isa
from hw.formats import ACTIVATIONS, FORMATS, KV
from hw.formats import keys as keys_format
from hw.signatures import Part
from verif.reference.attention import attention, scores
from verif.reference.kv import bounds_write, kv_write
from verif.reference.matmul import matmul
from verif.reference.pattern import blocks_read
from verif.reference.tape import pack, tiling


__all__ = ["Head", "Bounds", "Product", "legal_order"]


def elements(rng, element, *shape):
    """Integers, and where their codes lie so that they have the size of INT8's."""
    numbers = element.numbers[np.abs(element.numbers) <= element.largest]
    return rng.choice(numbers, shape), 118 - element.exponent


def codes(rng, first, *shape):
    return rng.integers(first, first + 14, shape, np.uint8)


def as_numbers(beats):
    return [int.from_bytes(beat.tobytes(), "little") for beat in beats]


class Queries:
    """Random queries of ``columns`` and ``groups``, ``blocks`` activation blocks each."""

    def __init__(self, config, rng, columns, groups, blocks, kv=None):
        self.config, self.columns, self.groups, self.blocks = config, columns, groups, blocks
        self.activation, self.kv = (str(rng.choice(names))
                                    for names in (config.activations, [kv] if kv else config.kv))
        vectors = columns * groups
        self.expects = True     # a result
        self.q, first = elements(rng, ACTIVATIONS[self.activation], vectors, 32 * blocks)
        self.q_codes = codes(rng, first, vectors, blocks)

    def writes(self, act):
        """``act_write`` fields of the query blocks, from activation block ``act`` on."""
        for m, half in np.ndindex(len(self.q), 2 * self.blocks):
            group, column = divmod(m, self.columns)
            yield {"column": column, "address": 2 * (act + group * self.blocks) + half,
                   "data": ACTIVATIONS[self.activation].encode(
                       self.q[m, 16 * half:16 * half + 16]).view(np.int8),
                   "code": int(self.q_codes[m, half // 2])}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What an ``attend`` asks for, but for where things lie."""

    columns: int
    groups: int = 1
    head_blocks: int
    count: int
    window: int = 0
    sinks: int = 0
    tokens: int = 0
    chosen: tuple = field(default=())


class Head(Queries):
    """Random operands of one ``attend``."""

    Shape = Shape

    def __init__(self, config, rng, shape, chain=False, kv=None):
        super().__init__(config, rng, shape.columns, shape.groups, shape.head_blocks, kv)
        self.shape, self.chain, self.rng = shape, chain, rng
        self.numbers = blocks_read(shape.count, shape.columns if shape.tokens else 1,
                                   shape.window, shape.sinks, shape.chosen)
        self.tokens = np.array([32 * number + n for number in self.numbers for n in range(32)
                                if 32 * number + n < shape.count])
        self.expects = bool(self.numbers)
        size = 32 * shape.head_blocks
        self.k, first = elements(rng, KV[self.kv], len(self.tokens), size)
        self.k_codes = codes(rng, first, len(self.tokens), shape.head_blocks)
        self.v, _ = elements(rng, KV[self.kv], len(self.tokens), size)
        self.v_codes = codes(rng, first, len(self.tokens))

    def result(self):
        """Output and sums, in the order of vectors."""
        s = self.shape
        columns = np.arange(s.columns)
        positions = s.count - s.columns + columns if s.tokens else np.full(s.columns, s.count - 1)
        return attention(self.q, self.q_codes, self.k, self.k_codes, self.v, self.v_codes,
                         activation=self.activation, kv=self.kv,
                         positions=np.tile(positions, s.groups), window=s.window, sinks=s.sinks,
                         numbers=self.tokens)

    def parts(self, index):
        """Keys and values of the block with this index: each its part, and its beats.

        What lies behind the last token is garbage.
        """
        config, blocks = self.config, self.shape.head_blocks
        packed  = KV[self.kv].packed
        lengths = config.part_beats(blocks, packed)
        number  = self.numbers[index]
        image   = self.rng.integers(0, 256, config.kv_lines(blocks, packed) * config.line_bytes,
                                    np.uint8)
        for t in np.flatnonzero(self.tokens // 32 == number):
            kv_write(image, config, 0, int(self.tokens[t]) % 32, KV[self.kv].encode(self.k[t]),
                     self.k_codes[t], KV[self.kv].encode(self.v[t]), self.v_codes[t], self.kv)
        beats = as_numbers(image[:sum(lengths) * config.beat_bytes].reshape(-1, config.beat_bytes))
        same = {"head_blocks": blocks, "packed": packed, "number": number, "first": index == 0,
                "last": index == len(self.numbers) - 1}
        return (({"kind": Part.KEYS, **same}, beats[:lengths[0]]),
                ({"kind": Part.VALUES, **same}, beats[lengths[0]:]))

    def command(self, **places):
        s = self.shape
        word = isa.encode("attend", head_blocks=s.head_blocks, columns=s.columns, groups=s.groups,
                          count=7, window=s.window, sinks=s.sinks, tokens=s.tokens,
                          activation=self.activation, kv=self.kv, **places)
        return {"word": word, "count": s.count}


class Bounds(Queries):
    """Random operands of one ``select``: queries of twice the size, and bounds."""

    def __init__(self, config, rng, columns, groups, head_blocks, pages):
        super().__init__(config, rng, columns, groups, 2 * head_blocks)
        self.rng, self.head_blocks, self.pages = rng, head_blocks, pages
        self.fields = dict(skip=int(rng.integers(100)), recent=int(rng.integers(100)),
                           shift=int(rng.integers(16)), least=int(rng.integers(100)))
        element = KV[self.kv]
        self.blocks_of_pages = -(-pages // 32)
        tokens = 32 * self.blocks_of_pages
        self.k, first = elements(rng, element, tokens, 64 * head_blocks)
        self.k_codes  = codes(rng, first, tokens, 2 * head_blocks)

    def parts(self):
        """The part, and the beats, of each block of bounds."""
        for n in range(self.blocks_of_pages):
            yield ({"kind": Part.BOUNDS, "head_blocks": self.head_blocks,
                    "packed": KV[self.kv].packed, "number": n, "first": n == 0,
                    "last": n == self.blocks_of_pages - 1}, as_numbers(self.beats(n)))

    def beats(self, n):
        """Beats of a block of bounds: those of a matrix, unless they are packed."""
        config, own = self.config, slice(32 * n, 32 * n + 32)
        if not KV[self.kv].packed:
            tape = pack(self.k[own], self.k_codes[own], keys_format(self.kv), config.slices)
            return np.frombuffer(tape, np.uint8).reshape(-1, config.beat_bytes)
        image = np.zeros(config.bounds_lines(self.head_blocks, True) * config.line_bytes, np.uint8)
        for page, (k, codes) in enumerate(zip(self.k[own], self.k_codes[own])):
            bounds_write(image, config, 0, page, KV[self.kv].encode(k), codes, self.kv)
        return image.reshape(-1, config.beat_bytes)[:config.key_beats(2 * self.head_blocks, True)]

    def jobs(self):
        """Jobs for the selector; one if there are no pages."""
        for n in range(max(1, self.blocks_of_pages)):
            yield {"first": n == 0, "last": n >= self.blocks_of_pages - 1, "number": n,
                   "pages": self.pages, "columns": self.columns, "groups": self.groups,
                   **self.fields}

    def scores(self):
        """Payloads of scores, in order."""
        lanes, tile = self.config.softmax_lanes, self.config.key_height * self.config.slices
        y = scores(self.q, self.q_codes, self.k, self.k_codes, self.activation, self.kv)
        y = y.view(np.uint32).reshape(self.groups, self.columns, self.blocks_of_pages, 32)
        tile = min(tile, 32)
        for n, start in np.ndindex(self.blocks_of_pages, 32 // tile):
            for g, c, lot in np.ndindex(self.groups, self.columns, tile // lanes):
                first = tile * start + lanes * lot
                yield {"column": c, "group": g, "values": y[g, c, n, first:first + lanes],
                       "bounds": 1}

    def command(self, **places):
        word = isa.encode("select", head_blocks=self.head_blocks, columns=self.columns,
                          groups=self.groups, count=7, activation=self.activation, kv=self.kv,
                          **self.fields, **places)
        return {"word": word, "count": self.pages}


class Product(Queries):
    """Random operands of a ``matmul`` of 32 rows with one block of one column."""

    def __init__(self, config, rng):
        super().__init__(config, rng, 1, 1, 1)
        self.format  = FORMATS[config.formats[0]]
        self.weights = elements(rng, self.format.element, 32, 32)[0]
        self.scales  = np.full((32, 1), 0x3C00, np.uint16)

    def result(self):
        """Output, and no sums."""
        return matmul(self.weights, self.scales, self.q, self.q_codes, self.format,
                      activation=self.activation), np.zeros(0, np.float32)

    def beats(self):
        size = self.config.beat_bytes
        tape = pack(self.weights, self.scales, self.format, self.config.slices)
        return as_numbers(np.frombuffer(tape, np.uint8).reshape(-1, size))

    def command(self, **places):
        tiles, height, tail = tiling(32, self.config.slices, self.format)
        word = isa.encode("matmul", halves=2, tiles=tiles, height=height, tail=tail, columns=1,
                          groups=1, stride=1, format=self.format.name, drain="store",
                          activation=self.activation, **places)
        return {"word": word, "count": 0}


def legal_order(heads, ahead, eager=lambda: True):
    """An order of the parts of heads, as :func:`verif.reference.pattern.parts` describes it.

    Where keys may go, ``eager`` says whether they do; else the oldest values go instead.
    Returns (``"keys"`` or ``"values"``, head, index of the block).
    """
    keys = [(h, n) for h, head in enumerate(heads) for n in range(len(head.numbers))]
    order, pending = [], []
    while keys or pending:
        allowed = keys and len(pending) < ahead + 1 and (
            not pending or keys[0][0] == pending[0][0]
            or (keys[0][0] == pending[0][0] + 1 and heads[keys[0][0]].chain))
        if allowed and (not pending or eager()):
            pending.append(keys.pop(0))
            order.append(("keys", *pending[-1]))
        elif pending:
            order.append(("values", *pending.pop(0)))
    return order
