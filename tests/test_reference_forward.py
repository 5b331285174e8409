"""The whole forward pass against float32."""

from pathlib import Path

import numpy as np
import pytest

from sw.compile.layers import quantise_model
from sw.models import load
from sw.tokenizer import Tokenizer
from tests.models import float_logits, float_loss, random_model, rounded
from verif.reference.forward import State, forward, loss


DATA = Path(__file__).parents[2] / "shared" / "data"
STORIES = DATA / "stories260K.bin"

needs_data = pytest.mark.skipif(
    not STORIES.is_file(),
    reason=f"NOT CHECKED against a published model: {STORIES} does not exist; put llama2.c's "
           "stories260K.bin, tok512.bin and a text tinystories_b.txt there")


@pytest.mark.parametrize("sizes", [dict(), dict(dim=80, hidden=70, n_heads=2, n_kv_heads=1)],
                         ids=["whole blocks", "padded"])
def test_int8_logits_are_close_to_those_in_float(sizes):
    # Sharp attention of random weights would amplify every rounding.
    source = random_model(**sizes, sharpness=0.7)
    model = quantise_model(source, "int8")
    tokens = np.random.default_rng(3).integers(0, 300, (2, 40))
    wanted = float_logits(source, tokens)
    state = State.empty(model, 2)
    got = np.stack([forward(model, tokens[:, n], n, state) for n in range(40)], axis=1)
    error = np.sqrt(((got - wanted) ** 2).mean() / wanted.var())
    assert got.dtype == np.float32 and error < 0.05, error


@pytest.mark.parametrize("format, activation, rule, kv, bound", [
    ("int16", "int8", "up", "int8", 0.04), ("int8row", "int8", "floor", "int8", 0.04),
    ("int8", "e4m3", "up", "e4m3", 0.15), ("mxfp8", "e4m3", "floor", "e4m3", 0.18),
    ("int8", "int8", "up", "e5m2", 0.25), ("mxfp6", "int8", "floor", "int8", 0.2),
    ("nvfp4", "int8", "floor", "int8", 0.4), ("int16", "int8", "floor", "int4", 0.4)])
def test_logits_of_other_formats_are_close_to_those_in_float(format, activation, rule, kv, bound):
    source = random_model(sharpness=0.7)
    model = quantise_model(source, format, activation=activation, rule=rule, kv=kv)
    tokens = np.random.default_rng(3).integers(0, 300, (2, 20))
    wanted, state = float_logits(source, tokens), State.empty(model, 2)
    got = np.stack([forward(model, tokens[:, n], n, state) for n in range(20)], axis=1)
    error = np.sqrt(((got - wanted) ** 2).mean() / wanted.var())
    assert bound / 4 < error < bound, error


def test_a_text_does_not_depend_on_its_neighbours():
    model = quantise_model(random_model(), "int4")
    tokens = np.random.default_rng(4).integers(0, 300, (3, 5))
    together, alone = State.empty(model, 3), State.empty(model, 1)
    for n in range(5):
        first = forward(model, tokens[:, n], n, together)[1]
        assert np.array_equal(first, forward(model, tokens[1, n], n, alone)[0])
    assert np.array_equal(together.k[:, 1], alone.k[:, 0])


def test_padding_for_wide_machines_changes_no_bit():
    source = random_model(dim=60, hidden=44, n_heads=3, n_kv_heads=1)
    models = [quantise_model(source, "int4", slices) for slices in (1, 64)]
    assert models[0].dim_blocks != models[1].dim_blocks
    states = [State.empty(model) for model in models]
    for n, token in enumerate((1, 50, 299)):
        logits = [forward(m, token, n, s) for m, s in zip(models, states)]
        assert np.array_equal(logits[0].view(np.uint32), logits[1].view(np.uint32))


def test_the_loss_is_the_mean_over_all_windows():
    model = quantise_model(random_model(), "int8")
    tokens = np.random.default_rng(5).integers(0, 300, 25)
    parts = [loss(model, tokens[n:n + 9], 8) for n in (0, 8, 16)]
    assert loss(model, tokens, 8, batch=2) == pytest.approx(np.mean(parts), abs=1e-12)
    with pytest.raises(ValueError, match="has no window of 101"):
        loss(model, tokens, 100)


@needs_data
def test_a_published_model_loses_little():
    """The whole of the held-out text is measured by ``python -m tests.held_out``."""
    model = load(STORIES)
    tokenizer = Tokenizer.beside(STORIES, model.vocabulary)
    text = (DATA / "tinystories_b.txt").read_text()[-4000:]
    tokens = tokenizer.encode(text, bos=False)[-(12 * 32 + 1):]
    exact = float_loss(model, tokens, 32)
    assert loss(quantise_model(model, "int8"), tokens, 32) < exact + 0.02
    assert loss(quantise_model(model, "int4"), tokens, 32) < float_loss(
        rounded(model, "int4"), tokens, 32) + 0.05
