"""What the execution units do, as Python generators over the reference functions.

A unit's generator yields what it needs before it goes on: the number of a counter to take from (0
is always granted), or a function that says whether it may. Between two yields a unit reads and
writes no more than one block, so that an order of steps is an order of events in the machine.
"""

import numpy as np

from hw.formats import ACTIVATIONS, KV
from hw.vector.unit import VectorUnit
from verif.reference.divide import divide
from verif.reference.floats import add, from_bits, maximum, minimum, multiply
from verif.reference.gate import gate
from verif.reference.matmul import matmul
from verif.reference.norm import norm
from verif.reference.pick import noise, pick
from verif.reference.pieces import HALF, piece_halves
from verif.reference.quantise import quantise
from verif.reference.rope import rope
from verif.reference.tape import tape_beats

from .attend import run_attend
from .fault import Hazard
from .kv import Part, run_append, run_choose, run_walk
from .select import run_select


__all__ = ["UNITS"]

BLOCK = 32

#: Vectors of which the vector unit holds the sums.
NORM_BATCH = VectorUnit.scratch_rows


def fp32(bits):
    return from_bits(np.uint32(bits))


def run_matmul(m, f):
    """Product of activations with the next weights of the W stream."""
    blocks, size = -(-f.halves // 2), 16 * f.halves
    tiles, slices = (f.tiles, f.height, f.tail), m.config.slices
    rows = ((f.tiles - 1) * f.height + f.tail) * slices
    # So many sums are written at once; zeros follow the last ones.
    together = min(m.config.lanes, 16 * slices)
    if f.tiles > 1 and f.height * slices % together:
        raise Hazard(f"a tile of {f.height * slices} rows does not fill rows of the workspace")
    written = rows + -rows % together
    beats = tape_beats((rows, size), f.format, slices, tiles)
    yield lambda: m.w_beats() >= beats
    weights, scales, factor = m.take_matrix(beats, (rows, size), f.format, tiles)
    for group in range(f.groups):
        part = slice(f.act + group * blocks, f.act + (group + 1) * blocks)
        for _ in range(blocks):
            yield f.take0
        act, codes = m.act[:f.columns, part].copy(), m.codes[:f.columns, part].copy()
        vectors = ACTIVATIONS[f.activation].decode(act.reshape(f.columns, -1)[:, :size])
        y = matmul(weights, scales, vectors, codes, f.format, factor=factor,
                   activation=f.activation)
        y = np.pad(y, ((0, 0), (0, written - rows)))
        last_group = group == f.groups - 1
        for block in range(-(-rows // BLOCK)):
            for column in range(f.columns):
                at = f.dst + (group * f.columns + column) * f.stride + block
                yield f.take1
                new = y[column, BLOCK * block:BLOCK * (block + 1)]
                old = m.workspace[at, :len(new)]
                m.workspace[at, :len(new)] = add(old, new) if f.drain == "add" else new
            if last_group:
                m.raise_counter(f.raise0)
        # Every tile reads the activations again, the last one just before the last results.
        if not (np.array_equal(act, m.act[:f.columns, part])
                and np.array_equal(codes, m.codes[:f.columns, part])):
            raise Hazard(f"activation blocks {part.start}..{part.stop - 1} were overwritten "
                         "during a matrix product")
        for _ in range(blocks):
            m.raise_counter(f.raise1)


def run_norm(m, f):
    """Vectors in batches: a batch is read for the first time, as a whole, before it is read for the
    second time."""
    period = f.period or f.blocks
    last = (f.blocks - 1) // max(period, 1) * period
    for start in range(0, f.blocks, NORM_BATCH * period or 1):
        blocks = range(start, min(start + NORM_BATCH * period, f.blocks))
        parts = []
        for block in blocks:
            yield f.take0 if block < period else 0
            parts.append(m.workspace[f.a + block].copy())
        scaled = []
        for first in range(0, len(parts), period):
            x = np.concatenate(parts[first:first + period])
            scaled.extend(norm(x, np.ones_like(x), fp32(f.imm)).reshape(-1, BLOCK))
        for block, y, part in zip(blocks, scaled, parts):
            yield f.take1 if block < period else 0
            if not np.array_equal(part, m.workspace[f.a + block], equal_nan=True):
                raise Hazard(f"workspace block {f.a + block} was overwritten during a norm")
            if f.b <= f.dst + block < f.b + min(period, f.blocks):
                raise Hazard("a norm writes where its gain is")
            m.workspace[f.dst + block] = multiply(y, m.workspace[f.b + block % period])
            if block >= last:
                m.raise_counter(f.raise0)
                m.raise_counter(f.raise1)


def elementwise(m, f, function, b_of, takes_b):
    """``dst[i] = function(a[i], b[b_of(i)])``; ``takes_b(i)`` says whether b is waited for."""
    for block in range(f.blocks):
        yield f.take0
        x = m.workspace[f.a + block].copy()
        if takes_b(block):
            yield f.take1
        m.workspace[f.dst + block] = function(x, m.workspace[f.b + b_of(block)])
        m.raise_counter(f.raise0)
        m.raise_counter(f.raise1)


def run_rope(m, f):
    yield from elementwise(m, f, rope, lambda i: i % f.period, lambda i: i < f.period)


def run_sum(m, f):
    yield from elementwise(m, f, add, lambda i: i, lambda i: True)


def run_multiply(m, f):
    yield from elementwise(m, f, multiply, lambda i: i, lambda i: True)


def run_maximum(m, f):
    yield from elementwise(m, f, maximum, lambda i: i, lambda i: True)


def run_minimum(m, f):
    yield from elementwise(m, f, minimum, lambda i: i, lambda i: True)


def run_gate(m, f):
    for block in range(f.blocks):
        yield f.take0
        a = m.workspace[f.a + 2 * block].copy()
        yield f.take1
        m.workspace[f.dst + block] = gate(a, m.workspace[f.a + 2 * block + 1])
        m.raise_counter(f.raise0)
        m.raise_counter(f.raise1)
        m.raise_counter(f.raise1)


def run_divide(m, f):
    for block in range(f.blocks):
        yield f.take0
        if block % f.period == 0:
            yield lambda: len(m.sums) > 0
            total = m.sums.popleft()
        m.workspace[f.dst + block] = divide(m.workspace[f.a + block], np.array([total]), 1)
        m.raise_counter(f.raise0)
        m.raise_counter(f.raise1)


def source_of(m, f):
    """Function that gives a block of what is quantised, by its number."""
    if not f.halves:
        return lambda block: m.workspace[f.a + block].copy()
    at = piece_halves(f.blocks, f.halves, f.zeros, f.pieces, f.stride, f.step, f.middle)
    at = at.reshape(-1, 2)

    def block_of(block):
        half = 2 * f.a + at[block]
        found = m.workspace.reshape(-1, HALF)[half]
        found[at[block] < 0] = 0
        return found.reshape(BLOCK)

    return block_of


def run_quantise(m, f):
    source = source_of(m, f)
    for first in range(0, f.blocks, f.group):
        number = min(f.group, f.blocks - first)
        x = []
        for block in range(first, first + number):
            yield f.take0
            x.append(source(block))
        q, codes = quantise(np.concatenate(x), f.group, f.element, f.rule, f.sign)
        q = KV[f.element].encode(q)
        m.events["nan_groups"] = m.events.get("nan_groups", 0) + int(codes[0] == 255)
        for i, block in enumerate(range(first, first + number)):
            yield 0
            values = q[BLOCK * i:BLOCK * (i + 1)]
            if f.target == "staging":
                m.staging[f.dst + block], m.staging_codes[f.dst + block] = values, codes[i]
            else:
                vector, inside = divmod(block, f.per_vector)
                group, column = divmod(vector, f.columns)
                at = f.dst + group * f.per_vector + inside
                m.act[column, at], m.codes[column, at] = values, codes[i]
            m.raise_counter(f.raise0)
            m.raise_counter(f.raise1)


def run_pick(m, f):
    if f.first:
        m.candidates = []
    for block in range(f.blocks):
        yield f.take0
        m.candidates.append((f.index + block, m.workspace[f.a + block].copy()))
        m.raise_counter(f.raise1)
    if f.last:
        indices = (np.array([index for index, _ in m.candidates])[:, None] * BLOCK
                   + np.arange(BLOCK)).reshape(-1)
        logits = np.concatenate([values for _, values in m.candidates])
        drawn = noise(indices, f.count, m.seed) if f.noise else None
        m.tokens.append(int(indices[pick(logits, fp32(f.imm), drawn)]))


def run_gather(m, f):
    for block in range(f.blocks):
        yield f.take0
        raw = m.read_memory(f.address * m.config.line_bytes + 128 * block, 128)
        m.workspace[f.dst + block] = raw.view("<f4")
        m.raise_counter(f.raise0)


def run_scatter(m, f):
    for block in range(f.blocks):
        yield f.take0
        m.write_memory(f.address * m.config.line_bytes + 128 * block,
                       m.workspace[f.a + block].view(np.uint8))
        m.raise_counter(f.raise1)
    yield 0
    m.raise_counter(f.raise0)


def run_load(m, f):
    yield 0
    raw = m.read_memory(f.address * m.config.line_bytes + 4 * f.count, 4)
    m.loaded.append(int(raw.view("<u4")[0]))


def run_stream(m, f):
    address, size = f.address * m.config.line_bytes, f.beats * m.config.beat_bytes
    m.check_read(address, size)
    if f.stream == "d":
        yield lambda: m.d_room(f.beats)
        m.d_fifo.append(Part("beats", f, 0, True, True, m.read_memory(address, size).copy()))
        m.count("d_words", address, size)
        return
    yield 0
    m.w_ready.append([address, f.beats])
    m.count("w_words", address, size)


#: Instruction to its generator function.
UNITS = {
    "matmul": run_matmul, "attend": run_attend, "select": run_select,
    "norm": run_norm, "rope": run_rope, "gate": run_gate, "divide": run_divide, "sum": run_sum,
    "multiply": run_multiply, "maximum": run_maximum, "minimum": run_minimum,
    "quantise": run_quantise, "pick": run_pick,
    "gather": run_gather, "scatter": run_scatter, "append": run_append, "load": run_load,
    "choose": run_choose,
    "stream": run_stream, "walk": run_walk,
}
