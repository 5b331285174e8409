"""Layers that choose pages: the reference, compiled programs, and these on the emulator."""

from dataclasses import replace

import numpy as np
import pytest

from hw.config import load as load_config
from sw.compile.compiler import compile_model
from sw.compile.kv import kv_layers
from sw.compile.layers import quantise_model
from sw.compile.writer import COUNTERS
from sw.errors import UserError
from sw.models.attention import Attention, choose_attention
from sw.models.sparse import Sparse
from sw.runtime.emulator import Emulator
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.models import random_model
from tests.programs import likeliest, shows_a_race, without_take
from tests.test_sw_emulator import run
from verif.reference.forward import State, forward
from verif.reference.pattern import blocks_read
from verif.reference.quantise import quantise
from verif.reference.select import bounds
from verif.reference.sparse import PageBounds, candidates, extend


NANO, SIM, WIDE = (load_config(name) for name in ("nano", "sim", "wide"))
SMALL = dict(dim=32, hidden=32, vocabulary=40, context=300)


def pages(share="1/2", page=32, window=None, sinks=0, global_every=None):
    """What `choose_attention` takes."""
    return window, sinks, global_every, None, share, page


#: name -> (model, configuration, what layers see, positions)
CASES = {
    "heads of their own": (
        dict(n_heads=2, n_kv_heads=2, n_layers=1), NANO, pages(sinks=3), 170),
    "windows between": (
        dict(n_heads=4, n_kv_heads=2, n_layers=4), SIM, pages("1/2", 32, 40, 5, 2), 150),
    "more heads than columns": (
        dict(n_heads=8, n_kv_heads=1, n_layers=1), replace(NANO, act_blocks=128), pages(), 140),
    "groups of three": (dict(n_heads=12, n_kv_heads=2, n_layers=1, dim=48),
                        replace(SIM, columns=2, kv_groups=3), pages("1/8"), 200),
    "pages of two blocks, short queues": (
        dict(n_heads=2, n_kv_heads=1), replace(NANO, queue=2), pages(page=64, sinks=1), 235),
    "heads of two blocks": (
        dict(n_heads=2, n_kv_heads=1, n_layers=1, dim=80), SIM, pages(window=50), 170),
    "zeros behind the queries": (
        dict(n_heads=3, n_kv_heads=1, n_layers=1, dim=60), WIDE, pages(), 140),
    "few tokens": (dict(n_heads=2, n_kv_heads=1), NANO, pages(), 112),
    "no page is complete": (dict(n_heads=2, n_kv_heads=1), NANO, pages(page=128), 40),
}


def build(case, order=None, config=None, numbers=None, **options):
    sizes, preset, sees, positions = CASES[case]
    config = config or preset
    model = random_model(**{**SMALL, **sizes})
    model = replace(model, attention=choose_attention(len(model.layers), *sees))
    model = quantise_model(model, "int8", config.slices, **numbers or {})
    model = replace(model, ends=(2**32 - 1,) * 2)
    compiled = compile_model(model, config, [1, 7, 30], positions - 2, **options)
    return compiled, Emulator(config, memory_bytes=compiled.memory.bytes, order=order)


# The reference

@pytest.mark.parametrize("page", [32, 128])
def test_pages_lie_before_the_window(page):
    """Candidates are those pages of which a block is read for no other reason, and all before."""
    for window in (page, page + 1, 2 * page - 3, 3 * page):
        for count in range(1, 6 * page):
            first = blocks_read(count, 1, window)[0]
            wanted = sum(number * page // 32 < first for number in range(count // page))
            assert candidates(count, page, window) == wanted, (window, count)
            # All before the window are tokens of pages.
            assert 32 * first <= wanted * page


def test_bounds_grow_token_by_token():
    model = replace(quantise_model(random_model(), "int8"), attention=(
        Attention(32, sparse=Sparse(1, 32)),) * 2)
    state = PageBounds.empty(model, 2, 100)
    k = np.random.default_rng(7).normal(size=(100, 2, 32 * model.kv_blocks)).astype(np.float32)
    for position in range(100):
        extend(state.of(1), k[position], position, 32, "int8", "up")
    heads = k.reshape(100, 2, model.n_kv_heads, -1)
    for text, head in np.ndindex(2, model.n_kv_heads):
        upper, lower = bounds(heads[:, text, head], 32)
        q, codes = quantise(np.concatenate([upper, lower], axis=1), rule="up")
        assert np.array_equal(state.k[1, text, head], q[:3])
        assert np.array_equal(state.codes[1, text, head], codes[:3])
        at = slice(head * heads.shape[-1], (head + 1) * heads.shape[-1])
        assert np.array_equal(state.running[1, text, :, at], [upper[3], lower[3]])
    assert not state.running[0].any()


def logits(model, tokens):
    state = State.empty(model, tokens.shape[0], tokens.shape[1])
    return [forward(model, tokens[:, n], n, state) for n in range(tokens.shape[1])]


def test_a_token_sees_everything_until_there_are_pages_to_leave_out():
    source = random_model(context=160, n_layers=1)
    tokens = np.random.default_rng(2).integers(0, 300, (2, 150))
    dense, sparse = (logits(quantise_model(replace(source, attention=sees), "int8"), tokens)
                     for sees in ((), choose_attention(1, *pages("1/2"))))
    equal = [np.array_equal(a, b) for a, b in zip(dense, sparse)]
    # Two pages, of which one is taken, lie before the window of the 96th token.
    assert all(equal[:95]) and not any(equal[95:])


def test_queries_that_do_not_fit_choose_by_themselves():
    """Heads that choose together read what any of them wants, so it matters which they are."""
    source = random_model(context=160, n_layers=1, n_heads=4, n_kv_heads=1)
    model = quantise_model(replace(source, attention=choose_attention(1, *pages("1/4"))), "int8")
    tokens = np.random.default_rng(2).integers(0, 300, (1, 150))
    all_of_them, halves = (logits(replace(model, together=n), tokens) for n in (0, 2))
    assert np.array_equal(logits(replace(model, together=4), tokens), all_of_them)
    assert not np.array_equal(all_of_them, halves)


# Programs

@pytest.mark.parametrize("case", CASES)
def test_choices_and_bounds_equal_the_reference(case):
    compiled, device = build(case, order=3, check=True)
    assert run(compiled, device).positions == CASES[case][3]
    assert not (device.owed or device.attending or device.choices or device.d_fifo or device.sums)
    left = {name for name, number in COUNTERS.items() if device.semaphores[number]}
    assert left <= {"gain_ready", "x_free", "logits_free", "appended"}
    forwards = compiled.config.forward and "heads=" in compiled.listing()
    assert device.semaphores[COUNTERS["appended"]] == forwards * compiled.model.n_kv_heads


@pytest.mark.parametrize("numbers", [dict(activation="e4m3", rule="up", kv="e5m2"),
                                     dict(kv="int4")], ids=str)
def test_bounds_have_the_elements_of_keys(numbers):
    run(*build("few tokens", order=5, config=load_config("formats"), numbers=numbers, check=True))


@pytest.mark.parametrize("order", [None, 1, 2])
def test_any_order_of_steps_chooses_the_same(order):
    compiled, device = build("heads of their own", order=order)
    outcome = run(compiled, device)
    assert outcome.tokens == likeliest(compiled.model, compiled.prompt, outcome.positions)


def test_it_costs_what_it_reads():
    """Words of the D stream are those of bounds, of chosen pages, sinks and window."""
    compiled, device = build("heads of their own")
    positions = run(compiled, device).positions
    config, total = compiled.config, 0
    for count in range(1, positions + 1):
        number = candidates(count, 32, 32)
        # The first page is that of the sinks.
        taken = min(max(0, number - 1), max(1, number >> 1))
        blocks = len(blocks_read(count, 1, 32, 3)) + taken
        total += blocks * config.kv_beats(1) + -(-number // 32) * config.key_beats(2)
    assert device.counters()["d_words"] * config.word_bytes == 2 * total * config.beat_bytes


#: Takes without which something is used too early, as (instruction, its occurrence, field).
NEEDED = [("maximum", 1, "take1"), ("minimum", 1, "take1"), ("scatter", 0, "take0"),
          ("scatter", 1, "take0"), ("select", 0, "take0"), ("append", 1, "take0"),
          ("quantise", 6, "take0"), ("walk", 1, "take0")]


@pytest.mark.parametrize("name, occurrence, field", NEEDED, ids=str)
def test_every_counter_of_pages_is_needed(name, occurrence, field):
    """Without one take, some order of steps shows a race."""
    compiled, _ = build("few tokens", check=True)
    assert shows_a_race(without_take(compiled, name, occurrence, field), run, orders=12)


def test_a_wrong_bound_is_found_and_named():
    compiled, device = build("heads of their own", check=True)
    session = Session(device, compiled)
    verifier = Verifier(device, compiled)
    list(session.tokens())
    verifier.verify(session.outcome)
    (layer,), line = compiled.kv, compiled.config.line_bytes
    at = (compiled.memory.regions["kv"].line + layer.bounds) * line + 2
    device.write(at, bytes([device.read(at, 1)[0] ^ 1]))
    with pytest.raises(UserError, match="first in layer 0, byte 2 of the bounds"):
        verifier.verify(session.outcome)


def test_memory_of_bounds():
    model = quantise_model(replace(random_model(context=4000), attention=(
        Attention(64, 4, sparse=Sparse(4, 64)), Attention())), "int8", 2)
    sparse, dense = kv_layers(model, SIM, 4000)
    assert sparse.head_lines == dense.head_lines and sparse.ring == 0
    # 62 pages are two blocks of bounds, for each of two heads; then two rows of two blocks.
    assert sparse.bounds_lines == 2 * SIM.bounds_lines(1) and sparse.running_lines == 8
    assert sparse.lines == dense.lines + 2 * sparse.bounds_lines + 8


# What users ask for

def test_dense_layers_choose_pages():
    near, far = Attention(40, 2), Attention(128, 2, sparse=Sparse(4, 128))
    assert choose_attention(2, sparse="1/16") == (Attention(128, sparse=Sparse(4, 128)),) * 2
    assert choose_attention(4, 40, 2, 2, sparse="1/16") == (near, far) * 2
    assert choose_attention(2, 300, 2, sparse="1/16", page=64) == (
        Attention(300, 2, sparse=Sparse(4, 64)),) * 2
    # What the file says stays, but for dense layers.
    assert choose_attention(2, None, 2, sparse="1/16", given=(Attention(9), Attention())) == (
        Attention(9), far)


@pytest.mark.parametrize("asked, sentence", [
    (dict(sparse="1/3"), "one over a power of two, such as 1/16, not '1/3'"),
    (dict(sparse="0.5"), "one over a power of two, such as 1/16, not '0.5'"),
    (dict(sparse="1/1"), "one over a power of two, such as 1/16, not '1/1'"),
    (dict(sparse="1/65536"), "must be 1/2, 1/4, .. or 1/32768, not 1/65536"),
    (dict(sparse="1/4", page=48), "a power of two of tokens, 32 to 4096, not 48"),
    (dict(sparse="1/4", page=16), "a power of two of tokens, 32 to 4096, not 16"),
    (dict(sparse="1/4", page=8192), "a power of two of tokens, 32 to 4096, not 8192"),
    (dict(page=64), "pages of 64 tokens need a share of them"),
    (dict(sparse="1/4", window=9, blocks="1"), "pages are chosen, or a list .* not both"),
    (dict(sparse="1/4", page=32, sinks=33), "must be 0 to 32 sinks.* not 33"),
    (dict(sparse="1/4", global_every=2), "need a window for the others"),
    (dict(sparse="1/4", given=(Attention(9),) * 2), "none is left to choose pages"),
], ids=str)
def test_impossible_choices_are_refused(asked, sentence):
    with pytest.raises(UserError, match=sentence):
        choose_attention(2, **asked)
    with pytest.raises(UserError, match="needs a window of as many, not 20"):
        Attention(20, sparse=Sparse(1, 32))


def test_machines_that_cannot_choose_are_refused():
    model = replace(random_model(context=400), attention=choose_attention(2, *pages()))
    with pytest.raises(UserError, match=r"configuration ulx3s chooses no pages \(pages = 0\); "
                                        "presets nano, sim, formats, server, wide do"):
        compile_model(model, load_config("ulx3s"), [1], 2)
    model = replace(random_model(context=2200), attention=choose_attention(2, *pages()))
    with pytest.raises(UserError, match="2080 tokens are 65 pages of 32, configuration nano "
                                        "chooses from at most 64; use larger pages"):
        compile_model(model, NANO, [1], 2080)
