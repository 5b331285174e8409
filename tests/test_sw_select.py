"""What the emulator makes of a select: its bytes against the reference's numbers."""

from collections import deque, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from hw.config import Config
from hw.formats import KV
from hw.register_map import Cause
from sw.runtime.fault import Fault
from sw.runtime.select import run_select
from verif.reference.kv import Places
from verif.reference.quantise import quantise
from verif.reference.select import bounds, page_scores, select


Part = namedtuple("Part", "raw")

CONFIG = Config(name="test", slices=2, columns=3, kv_groups=2, pages=64)


def blocks_of_bounds(upper, lower, kv):
    """Blocks of bounds as bytes, with their integers and codes: rows of twice the size."""
    rows = np.concatenate([upper, lower], axis=-1)
    q, codes = quantise(rows, 1, kv, "up")
    raw = []
    for start in range(0, len(rows), 32):
        head_blocks = rows.shape[-1] // 32
        block = np.zeros(CONFIG.key_beats(head_blocks) * CONFIG.beat_bytes, np.uint8)
        for page in range(start, min(start + 32, len(rows))):
            places = Places(CONFIG, 0, page - start, head_blocks)
            places.keys.put(block, KV[kv].encode(q[page]).view(np.uint8))
            block[places.key_codes] = codes[page]
        raw.append(Part(block))
    halves = (part for x in (q, codes) for part in np.split(x, 2, axis=-1))
    upper, lower, upper_codes, lower_codes = halves
    return deque(raw), (upper, upper_codes, lower, lower_codes)


def run(machine, **fields):
    """Execute a select for which everything is there; how many blocks it took."""
    defaults = dict(act=1, head_blocks=1, columns=3, groups=2, count=40, skip=0, recent=0, shift=0,
                    least=0, activation="int8", kv="int8", take0=5, raise1=6)
    return list(run_select(machine, SimpleNamespace(**defaults | fields))).count(5)


def machine(**members):
    config = CONFIG
    act = np.zeros((config.columns, config.act_blocks, 32), np.uint8)
    raised = []
    return SimpleNamespace(config=config, act=act, codes=act[..., 0].copy(), choices=deque(),
                           d_fifo=deque(), raised=raised, raise_counter=raised.append, **members)


@pytest.mark.parametrize("head_blocks, count, kv",
                         [(1, 40, "int8"), (2, 64, "e4m3"), (1, 5, "int8")])
def test_select_appends_what_the_reference_chooses(head_blocks, count, kv):
    rng, m = np.random.default_rng(count), machine()
    size = 32 * head_blocks
    parts, numbers = blocks_of_bounds(*bounds(rng.normal(size=(count, size)), 1), kv)
    m.d_fifo = parts
    queries, codes = quantise(rng.normal(size=(6, size)).astype(np.float32))
    for n in range(6):
        group, column = divmod(n, 3)
        for half, part in enumerate((np.maximum(queries[n], 0), np.minimum(queries[n], 0))):
            at = 1 + (2 * group + half) * head_blocks
            m.act[column, at:at + head_blocks] = part.view(np.uint8).reshape(-1, 32)
            m.codes[column, at:at + head_blocks] = codes[n]
    limits = dict(skip=1, recent=2, shift=2, least=3)
    assert run(m, head_blocks=head_blocks, count=count, kv=kv, **limits) == 12 * head_blocks
    expected = select(page_scores(queries, codes, *numbers, kv=kv), count, **limits)
    assert list(m.choices) == [expected] and m.raised == [6] and not m.d_fifo
    # With one vector left out, something else is chosen: it is all of them that count.
    fewer = select(page_scores(queries[:1], codes[:1], *numbers, kv=kv), count, **limits)
    assert count < 32 or fewer != expected


def test_no_pages_are_an_empty_list():
    m = machine()
    run(m, count=0, least=4)
    assert list(m.choices) == [[]] and m.raised == [6]


def test_more_pages_than_the_machine_has_are_a_fault():
    m = machine()
    with pytest.raises(Fault) as fault:
        run(m, count=65)
    assert fault.value.cause == Cause.CHOICE and not m.choices


def test_a_third_select_waits():
    m = machine()
    m.choices.extend([[1], [2]])
    *_, wanted = (step for _, step in zip(range(13), run_select(m, SimpleNamespace(
        act=1, head_blocks=1, columns=3, groups=2, take0=5, count=0))))
    assert not wanted()
    m.choices.popleft()
    assert wanted()
