"""Heads that are not whole blocks: matrices hold no padding, and all bits are the reference's."""

from dataclasses import replace

import numpy as np
import pytest

from hw.config import load as load_config
from sw.bench.random_model import random_model, shaped
from sw.compile.compiler import compile_model
from sw.compile.heads import head_rows, rounds_of_heads
from sw.compile.layers import quantise_model
from sw.models.attention import choose_attention
from sw.quantise import dequantise_weights
from sw.runtime.emulator import Emulator
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from verif.reference.pieces import compact, pieces, spread


NANO, SIM, SERVER, WIDE = (load_config(name) for name in ("nano", "sim", "server", "wide"))
ROOMY = dict(workspace=2**18, act_blocks=1024)

#: name -> (model, configuration, options, positions of the prompt)
CASES = {
    "heads of 48": (
        dict(dim=96, n_heads=2, n_kv_heads=2), replace(NANO, max_head=64), {}, 3),
    "three heads, which are no whole blocks": (
        dict(dim=144, n_heads=3, n_kv_heads=3), SIM, dict(format="int4"), 3),
    "heads of 40 with zeros": (
        dict(dim=120, n_heads=3, n_kv_heads=1), replace(NANO, max_head=64, columns=3), {}, 3),
    "heads of 80, one by one": (
        dict(dim=240, n_heads=3, n_kv_heads=1, n_layers=1), replace(
            SERVER, columns=1, kv_groups=1), dict(format="int4"), 3),
    "heads of 112": (dict(dim=224, n_heads=2, n_kv_heads=1, n_layers=1), SERVER, {}, 3),
    "rows of whole blocks": (dict(dim=144, n_heads=3, n_kv_heads=3, n_layers=1), WIDE, {}, 3),
    "heads of 32 on many slices": (dict(dim=64, n_heads=2, n_kv_heads=1), WIDE, {}, 3),
    "chunks of one part": (
        dict(dim=144, n_heads=3, n_kv_heads=3), replace(SIM, **ROOMY), dict(chunk=16), 19),
    "groups of queries in chunks": (
        dict(dim=192, n_heads=4, n_kv_heads=2, n_layers=3), replace(SIM, **ROOMY),
        dict(chunk=32, format="int4"), 40),
    "chunks on the server": (
        dict(dim=288, hidden=64, n_heads=6, n_kv_heads=2), SERVER, dict(chunk=24), 26),
}

#: Layers that choose pages: sizes, configuration.
SPARSE = {
    "columns of an odd number of halves": (
        dict(dim=144, n_heads=3, n_kv_heads=1), replace(SIM, columns=1, kv_groups=1)),
    "heads of their own": (dict(dim=96, n_heads=2, n_kv_heads=2), replace(NANO, max_head=64)),
    "forwarded": (dict(dim=144, n_heads=3, n_kv_heads=3), SIM),
}


def run(model, config, prompt, order=None, tokens=3, **options):
    """A run on the emulator, all logits, keys and values of which equal the reference."""
    compiled = compile_model(model, config, prompt, tokens, check=True,
                             **{"format": "int8", "chunk": 1, **options})
    device = Emulator(config, memory_bytes=compiled.memory.bytes, order=order)
    session, verifier = Session(device, compiled), Verifier(device, compiled)
    list(session.tokens())
    assert "equal the reference" in verifier.verify(session.outcome)
    return compiled


def prompt_of(number):
    return [1, *(37 * n % 36 + 3 for n in range(number - 1))]


@pytest.mark.parametrize("order", [None, 1, 2])
@pytest.mark.parametrize("case", CASES)
def test_every_bit_is_that_of_the_reference(case, order):
    sizes, config, options, number = CASES[case]
    compiled = run(random_model(**{"hidden": 96, **sizes}), config, prompt_of(number), order,
                   **options)
    assert compiled.model.compact and bool(compiled.chunks) == ("chunk" in options)


@pytest.mark.parametrize("order", [None, 1])
@pytest.mark.parametrize("case", SPARSE)
def test_layers_choose_pages(case, order):
    sizes, config = SPARSE[case]
    model = random_model(**sizes, hidden=32, vocabulary=40, context=160, n_layers=1)
    sees = choose_attention(1, 40, 3, sparse="1/2", page=32)
    run(replace(model, attention=sees, ends=(2**32 - 1,) * 2), config, prompt_of(134), order)


@pytest.mark.parametrize("numbers", [dict(activation="e4m3", rule="up", kv="e5m2"),
                                     dict(kv="int4", rule="up")])
def test_heads_have_any_elements(numbers):
    run(random_model(dim=144, n_heads=3, n_kv_heads=3, n_layers=1), load_config("formats"),
        [1, 5, 9], **numbers)


@pytest.mark.parametrize("slices", [1, 2, 8])
def test_matrices_hold_no_padding(slices):
    """A model of 15 million weights: its heads of 48 are three half blocks."""
    source = shaped("15M")
    model = quantise_model(replace(source, layers=source.layers[:1]), "int4", slices)
    shapes = [matrix.weights.shape for matrix in model.layers[0].matrices]
    assert shapes == [(864, 288), (288, 288), (1536, 288), (288, 768)]
    assert (model.head_blocks, model.head_halves, model.table_blocks) == (2, 3, 3)


def test_rows_and_columns_of_heads_follow_each_other():
    source = random_model(dim=120, hidden=64, n_heads=3, n_kv_heads=3, n_layers=1)
    model, layer = quantise_model(source, "int16"), source.layers[0]
    kvq, output = (dequantise_weights(*m) for m in model.layers[0].matrices[:2])
    assert kvq.shape == (480, 128) and output.shape == (128, 160)
    for first, w in ((0, layer.wk), (160, layer.wv), (320, layer.wq)):
        for head in range(3):
            row = first + 48 * head
            assert np.allclose(kvq[row:row + 40, :120], w[40 * head:40 * head + 40], atol=1e-4)
            assert not kvq[row + 40:row + 48].any()
        assert not kvq[first + 144:first + 160].any()
    for head in range(3):
        assert np.allclose(output[:120, 48 * head:48 * head + 40],
                           layer.wo[:, 40 * head:40 * head + 40], atol=1e-4)
        assert not output[:, 48 * head + 40:48 * head + 48].any()
    assert model.rope_k.shape[1] == 96
    assert np.array_equal(model.rope_k[:, :48], model.rope_k[:, 48:])
    assert not model.rope_k[:, 40:48].any()


def test_only_heads_that_save_something_are_compact():
    assert [head_rows(head) for head in (8, 16, 20, 32, 40, 48, 64, 80, 96, 128)] == [
        32, 32, 32, 32, 48, 48, 64, 80, 96, 128]
    for sizes, slices, wanted in ((dict(), 2, False), (dict(dim=128), 2, False),
                                  (dict(dim=256), 8, False), (dict(dim=192), 2, True),
                                  (dict(dim=128), 64, True)):
        assert quantise_model(random_model(**sizes), "int8", slices).compact == wanted


@pytest.mark.parametrize("heads, halves, wanted", [
    (4, 3, [(0, 4, 0)]), (3, 3, [(0, 2, 0), (2, 1, 1)]), (1, 5, [(0, 1, 1)]), (3, 2, [(0, 3, 0)])])
def test_heads_are_put_together_to_whole_blocks(heads, halves, wanted):
    assert rounds_of_heads(heads, halves) == wanted


def test_pieces_spread_heads_and_put_them_together():
    x = np.random.default_rng(1).normal(size=(2, 160)).astype(np.float32)
    padded = pieces(x, 6, halves=3, zeros=1, pieces=1, stride=0, step=3)
    assert np.array_equal(padded, spread(x, 3, 3, 2))
    assert np.array_equal(padded.reshape(2, 3, 64)[:, 1, :48], x[:, 48:96])
    assert not padded.reshape(2, 3, 64)[..., 48:].any()
    second = pieces(x, 2, halves=3, zeros=1, pieces=1, stride=0, step=3, middle=1)
    assert np.array_equal(second[:, :48], x[:, 16:64])
    joined = compact(padded, 3, 3)
    assert np.array_equal(joined[:, :144], x[:, :144]) and not joined[:, 144:].any()
    assert np.array_equal(joined[:, :96], pieces(padded, 3, halves=3, zeros=0, pieces=1, stride=0,
                                                 step=4))
    # Two heads of two vectors: the heads of a vector have the other's between them.
    mixed = padded[0, :128].reshape(2, 64)[[0, 0, 1, 1]].reshape(-1) * np.repeat([1, 2, 1, 2], 64)
    found = pieces(mixed, 6, halves=3, zeros=0, pieces=2, stride=4, step=4)
    assert np.array_equal(found, np.concatenate([x[0, :96], 2 * x[0, :96]]))
