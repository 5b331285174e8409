"""Programs that measure attention, on the emulator; bytes that count; words found far back."""

import numpy as np
import pytest

from hw.config import load
from sw.bench.attention import limit, measure
from sw.bench.attention_data import Case, Head, queries
from sw.bench.attention_whole import fits, measure_whole, whole_limit
from sw.bench.needle import Exact, Machine, found
from sw.bench.patterns import SIGHTS, bundled, losses, own_text
from sw.cli.bench import BENCHES
from sw.runtime.emulator import Emulator
from sw.train.sight import Sight
from verif.reference.pattern import BLOCK, blocks_read, chosen_blocks, seen
from verif.reference.select import bounds, select


#: name -> (case, whether tokens attend in chunks)
CASES = {
    "dense": (Case(head=64, queries=2, tokens=100), False),
    "several groups": (Case(head=32, queries=12, tokens=70), False),
    "ring": (Case(head=32, queries=2, tokens=300, window=96, sinks=4), False),
    "prompt": (Case(head=32, queries=2, tokens=48), True),
    "sparse": (Case(head=64, queries=2, tokens=1000, share=2, window=64, sinks=4, page=0), False),
}


@pytest.mark.parametrize("order", [None, 1])
@pytest.mark.parametrize("config", ["sim", "server"])
@pytest.mark.parametrize("name", CASES)
def test_programs_compute_attention(name, config, order):
    config, (case, chunks) = load(config), CASES[name]
    device = Emulator(config, order=order)
    assert measure(device, case, config.columns if chunks else 0)[1]


@pytest.mark.parametrize("order", [None, 1, 2])
def test_a_layer_with_projections_is_computed(order):
    assert measure_whole(Emulator(load("sim"), order=order))[1]


def test_wrong_keys_are_noticed(monkeypatch):
    image = Head.kv_image

    def wrong(self, config):
        found = image(self, config)
        found[0, config.beat_bytes] ^= 64
        return found

    monkeypatch.setattr(Head, "kv_image", wrong)
    assert not measure(Emulator(load("sim")), CASES["dense"][0])[1]


def test_limits_count_what_must_be_read():
    sim, server = load("sim"), load("server")
    dense = Case(head=64, queries=2, tokens=1000)
    assert dense.bytes == 2 * 1000 * (64 + 64 + 2 + 1)
    assert limit(sim, dense) == dense.bytes / 16 and limit(server, dense) == dense.bytes / 64
    window = Case(head=64, queries=2, tokens=1000, window=96, sinks=4)
    assert window.bytes == dense.bytes // 10 and window.ring == 4
    sparse = Case(head=64, queries=2, tokens=200_000, window=256, sinks=4, share=4)
    assert (sparse.pages, sparse.skip, sparse.recent) == (1562, 0, 1)
    assert sparse.bytes == 2 * ((97 * 128 + 260) * 131 + 1562 * (128 + 4))
    # Half of all pairs of tokens, twice, for two heads of two; and once a chunk what it sees.
    prompt = Case(head=128, queries=4, tokens=512)
    assert limit(server, prompt, 8) == 2 * 128 * 8 * 512 * 513 / 2 / 1024
    prompt = Case(head=32, queries=2, tokens=32)
    assert limit(sim, prompt, 8) == 2 * (8 + 16 + 24 + 32) * 66 / 16
    assert whole_limit(sim) == 6144 and fits(sim) and not fits(server)


def test_a_window_over_many_tokens_needs_few_blocks():
    case = Case(head=64, queries=2, tokens=200_000, window=4096, sinks=4)
    rng, config = np.random.default_rng(0), load("sim")
    head, x = Head(case, rng), queries(case, rng, 2)
    assert len(head.numbers) == 129 and len(head.kv_image(config)) == 130
    # What lies between sinks and window does not matter.
    every = Head(Case(head=64, queries=2, tokens=5000), rng)
    assert len(every.numbers) == 157
    assert head.attention(x, np.full(2, 199_999)).shape == (2, 64)


def test_logits_differ_by_some_bits():
    """Else attention would be that of one token, or the same for all."""
    case = Case(head=64, queries=2, tokens=4096)
    rng = np.random.default_rng(0)
    head, x = Head(case, rng), queries(case, rng, 2)
    scale = np.ldexp(1.0, head.k_codes.astype(int) - 127 - 6)
    logits = x @ (head.k * np.repeat(scale, BLOCK, axis=1)).T
    assert 2 < logits.std() < 5


@pytest.mark.parametrize("arithmetic", [Exact(), Machine()], ids=["float32", "machine"])
def test_what_attention_sees_decides_what_is_found(arithmetic):
    result = found(arithmetic, 2048)
    assert result["dense"][1].all() and result["sparse 1/16"][1].all()
    for name, reach in (("window 256", 256), ("window 1024, 4 sinks", 1024)):
        distances, right = result[name]
        assert right[distances < reach].all() and (distances < reach).any()
        # What lies beyond can only be guessed.
        assert right[distances > reach].mean() < 0.2 and (distances > reach).any()
    assert result["every 16th page"][1].mean() < 0.3


def test_chosen_pages_are_those_of_the_reference():
    sight = Sight(window=40, sinks=4, share=1, page=0)
    rng = np.random.default_rng(0)
    q = rng.standard_normal((4, 300, 32)).astype(np.float32)
    k = rng.standard_normal((2, 300, 32)).astype(np.float32)
    mask = sight.mask(0, q, k)
    for head in range(4):
        upper, lower = bounds(k[head // 2], BLOCK)
        for position in range(0, 300, 7):
            group = q[head // 2 * 2:head // 2 * 2 + 2, position]
            y = np.maximum(group, 0) @ upper.T + np.minimum(group, 0) @ lower.T
            pages = (position + 1) // BLOCK
            recent = pages - min(pages, -(-max(0, position + 1 - 40) // BLOCK))
            chosen = chosen_blocks(select(y, pages, 0, recent, 1, 1), 0)
            read = blocks_read(position + 1, 1, 40, 4, chosen)
            wanted = np.isin(np.arange(300) // BLOCK, read) & (np.arange(300) <= position)
            assert np.array_equal(mask[head, position], wanted)


def test_windows_hide_what_the_reference_hides():
    x = np.zeros((1, 50, 32), np.float32)
    time = np.arange(50)
    (mask,) = Sight(window=8, sinks=3).mask(0, x, x)
    assert np.array_equal(mask, seen(time, time[:, None], 8, 3))
    mixed = Sight(window=8, every=2)
    assert not mixed.dense(0) and mixed.dense(1)
    assert np.array_equal(mixed.mask(1, x, x)[0], seen(time, time[:, None]))


def test_losses_depend_on_what_is_seen():
    model, tokenizer = bundled()
    text = own_text(tokenizer, 1)
    dense, narrow = (losses(model, text, sight, "float32")
                     for sight in (SIGHTS["dense"], Sight(window=2)))
    assert narrow[0] > dense[0] + 0.5


def test_the_benches_are_offered():
    assert {"attention", "patterns"} <= set(BENCHES)
