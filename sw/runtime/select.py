"""Choice of pages by the bounds that a walk brings."""

import numpy as np

from hw import register_map as rm
from hw.formats import ACTIVATIONS, KV
from verif.reference.attention import scores
from verif.reference.kv import Cells, Places
from verif.reference.pattern import BLOCK
from verif.reference.select import select

from .fault import Fault


__all__ = ["run_select"]


#: Selects whose keys the machine holds.
BANKS = 2


def run_select(m, f):
    """Append the pages whose bounds score highest to ``m.choices``, as one ascending list."""
    size, blocks = 2 * f.head_blocks * BLOCK, 2 * f.head_blocks * f.groups
    for _ in range(f.columns * blocks):
        yield f.take0
    yield lambda: len(m.choices) < BANKS
    if f.count > m.config.pages:
        raise Fault(rm.Cause.CHOICE)
    # Queries of a group lie behind those of the group before.
    part = slice(f.act, f.act + blocks)
    q = np.concatenate(np.split(m.act[:f.columns, part], f.groups, axis=1))
    codes = np.concatenate(np.split(m.codes[:f.columns, part], f.groups, axis=1))
    q = ACTIVATIONS[f.activation].decode(q.reshape(len(q), size))
    packed = KV[f.kv].packed
    places = [Places(m.config, 0, page, 2 * f.head_blocks, packed=packed) for page in range(BLOCK)]
    keys = Cells.stack([place.keys for place in places])
    key_codes = np.array([place.key_codes for place in places])
    y = [np.zeros((len(q), 0), np.float32)]
    for _ in range(0, f.count, BLOCK):
        yield lambda: len(m.d_fifo) > 0
        raw = m.d_fifo.popleft().raw
        y.append(scores(q, codes, KV[f.kv].decode(keys.get(raw)), raw[key_codes], f.activation,
                        f.kv))
    m.choices.append(select(np.concatenate(y, axis=1), f.count, f.skip, f.recent, f.shift,
                            f.least))
    m.raise_counter(f.raise1)
