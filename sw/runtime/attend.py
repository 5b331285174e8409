"""Attention of the columns' queries to what walks bring."""

from types import SimpleNamespace

import numpy as np

from hw.formats import ACTIVATIONS, KV
from verif.reference.attention import attention
from verif.reference.kv import Places
from verif.reference.pattern import BLOCK

from .fault import Hazard
from .kv import block_places


__all__ = ["run_attend"]


def run_attend(m, f):
    """Two may be under way: keys of the next walk may come before the last values of this one."""
    size = BLOCK * f.head_blocks
    if size % m.config.slices:
        raise Hazard(f"a head of {size} elements does not fill {m.config.slices} slices")
    if f.groups > m.config.kv_groups:
        raise Hazard(f"{f.groups} groups attend, but the machine has {m.config.kv_groups}")
    own = m.attending.popleft() if m.attending else (yield from begin(m, f))
    while f.count and not own.ended:
        yield lambda: len(m.d_fifo) > 0
        part = m.d_fifo[0]
        if part.kind == "keys" and own.walk is not None and part.walk is not own.walk:
            # The first keys of the walk behind belong to the next command.
            if not m.attending:
                yield lambda: m.units["matmul"].next == "attend"
                m.attending.append((yield from begin(m, m.units["matmul"].queue[0][1])))
            take(m, m.attending[0])
        else:
            take(m, own)
    yield from finish(m, f, own)


def begin(m, f):
    """An attend that has its queries, and nothing else yet."""
    for _ in range(f.columns * f.groups * f.head_blocks):
        yield f.take0
    q, codes = queries(m, f)
    return SimpleNamespace(f=f, q=q.copy(), codes=codes.copy(), walk=None, numbers=[], parts=[],
                           ended=False)


def queries(m, f):
    """Elements and codes of the queries, ``[vector, ...]``; vectors lie group by group."""
    rows = [slice(f.act + group * f.head_blocks, f.act + (group + 1) * f.head_blocks)
            for group in range(f.groups)]
    return (np.concatenate([m.act[:f.columns, part].reshape(f.columns, -1) for part in rows]),
            np.concatenate([m.codes[:f.columns, part] for part in rows]))


def take(m, own):
    """Take the next part of the D stream."""
    f, part = own.f, m.d_fifo.popleft()
    if part.last:
        forward(m, f, part)
    keys, key_codes, values, value_code = block_places(m.config, f.head_blocks, f.kv)
    if part.kind == "keys":
        if own.walk is None and not part.first:
            raise Hazard("an attend begins in the middle of a walk")
        own.walk = part.walk
        # The probabilities, which the activation memory holds for the value product.
        at = f.probability + len(own.numbers) % (m.config.keys_ahead + 1) * f.groups
        m.act[:f.columns, at:at + f.groups] = m.rng.integers(0, 256, (f.columns, f.groups, BLOCK))
        own.numbers.append(part.number)
        own.parts.append([keys.get(part.raw), part.raw[key_codes], part.raw[value_code]])
        return
    block = own.numbers.index(part.number)
    own.parts[block].append(values.get(part.raw))
    own.ended = part.last


def forward(m, f, part):
    """Put the newest token into its block, of which memory need not have it."""
    if bool(part.walk.forward) != (f.heads > 0):
        raise Hazard("a walk and its attend do not agree on where the newest token is")
    if not f.heads:
        return
    token, size = (f.count - 1) % BLOCK, f.head_blocks
    places = Places(m.config, 0, token, size, packed=KV[f.kv].packed)
    start = m.config.part_beats(size, KV[f.kv].packed)[0] * m.config.beat_bytes
    keys, values = f.head * size, (f.heads + f.head) * size
    if part.kind == "keys":
        places.keys.put(part.raw, m.staging[keys:keys + size].reshape(-1))
        part.raw[places.key_codes] = m.staging_codes[keys:keys + size]
        part.raw[places.value_code] = m.staging_codes[values]
    else:
        (places.values + -start).put(part.raw, m.staging[values:values + size].reshape(-1))


def finish(m, f, own):
    """Compute, and write what came out."""
    if f.count:
        if not np.array_equal(own.q, queries(m, f)[0]):
            raise Hazard("queries were overwritten during attention")
        k, k_codes, v_codes, v = (np.concatenate(parts) for parts in zip(*own.parts))
        element, activation = KV[f.kv], ACTIVATIONS[f.activation]
        tokens = (BLOCK * np.array(own.numbers)[:, None] + np.arange(BLOCK)).reshape(-1)
        column = np.tile(np.arange(f.columns), f.groups)
        positions = f.count - f.columns + column if f.tokens else np.full_like(column, f.count - 1)
        output, total = attention(
            activation.decode(own.q), own.codes, element.decode(k), k_codes, element.decode(v),
            v_codes, f.activation, f.kv, numbers=tokens, positions=positions, window=f.window,
            sinks=f.sinks)
        # The queue of sums holds those of two commands.
        yield lambda: len(m.sums) + len(total) <= 2 * m.config.columns * m.config.kv_groups
        for block, values in enumerate(output.reshape(-1, BLOCK)):
            yield f.take1
            m.workspace[f.dst + block] = values
            m.raise_counter(f.raise0)
        m.sums.extend(total)
    m.raise_counter(f.raise1)
