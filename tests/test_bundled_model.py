"""The bundled model and tokenizer: their files, their rounding rules and what the model writes."""

from pathlib import Path

import numpy as np
import pytest

from hw.formats import ACTIVATIONS, FORMATS, KV
from sw.models import load
from sw.tokenizer import BOS, Tokenizer
from sw.train.inference import Inference, round_activations, round_weights
from sw.train.own_stories import own_stories
from sw.train.stored import ModelConfig, write_model
from sw.train.tokenizer import encode_texts, train_tokenizer, write_tokenizer
from verif.reference.quantise import RULES


#: Nats per token, with INT4 weights and INT8 activations.
INT4_BOUND = 1.5
BUNDLED = Path(__file__).parents[1] / "sw" / "bundled"
#: Written for this test; no part of the training text.
PASSAGE = (
    "Once upon a time, there was a little girl named Lily. She had a small dog, and his name was "
    "Max. Every day they went to the park to play. One day, Max saw a big red ball in the tall "
    'grass. He wanted to play with it, but it was not his ball. A boy came and said, "That is my '
    'ball. Do you want to play with me?" Lily smiled and said, "Yes, we do!" They all ran and '
    "played until it was time to go home. Lily was very happy that she had made a new friend.")


@pytest.fixture(scope="module")
def model():
    return load(BUNDLED / "stories1m.bin")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.load(BUNDLED / "tokenizer.bin")


def loss(model, ids, weights):
    """Return the loss in nats per token with INT8 activations."""
    return Inference(model, weights, "int8").loss(ids) / (len(ids) - 1)


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.bin")) <= 1.5e6


def test_the_model_has_the_documented_sizes(model, tokenizer):
    assert (model.dim, model.hidden, len(model.layers)) == (128, 384, 5)
    assert (model.n_heads, model.n_kv_heads, model.head) == (4, 2, 32)
    assert (model.vocabulary, model.context) == (512, 512)
    assert model.classifier is model.embedding
    assert model.parameters == 1_049_984
    assert len(tokenizer) == model.vocabulary


def tensors(model):
    """Return the arrays of a model, of all layers each, under the names of its file."""
    config = ModelConfig()
    layers = {name: np.stack([getattr(layer, name) for layer in model.layers])
              for name in config.norms | config.matrices if name not in ("norm", "embedding")}
    return layers | {"norm": model.norm, "embedding": model.embedding[None]}


def test_the_weights_are_finite_and_used(model):
    for name, array in tensors(model).items():
        assert np.isfinite(array).all(), name
        assert 0.001 < np.abs(array).mean() < 20, name


def test_the_stored_weights_are_their_own_int8_rounding(model):
    for name in ModelConfig().matrices:
        for matrix in tensors(model)[name]:
            assert np.array_equal(round_weights(matrix, "int8"), matrix), name


def test_writing_what_was_read_gives_the_same_bytes(model, tokenizer, tmp_path):
    write_model(tmp_path / "model.bin", ModelConfig(), tensors(model))
    assert (tmp_path / "model.bin").read_bytes() == (BUNDLED / "stories1m.bin").read_bytes()
    write_tokenizer(tmp_path / "tokenizer.bin", tokenizer)
    assert (tmp_path / "tokenizer.bin").read_bytes() == (BUNDLED / "tokenizer.bin").read_bytes()


def test_int4_weights_predict_a_story(model, tokenizer):
    ids = tokenizer.encode(PASSAGE)
    int8, int4 = (loss(model, ids, weights) for weights in ("int8", "int4"))
    assert int4 < INT4_BOUND
    assert abs(int4 - int8) < 0.08


@pytest.mark.parametrize("weights", FORMATS)
def test_every_format_predicts_a_story(weights, model, tokenizer):
    ids = tokenizer.encode(PASSAGE)
    exact = Inference(model, "float32", "float32").loss(ids)
    for activations in ACTIVATIONS:
        more = (Inference(model, weights, activations).loss(ids) - exact) / (len(ids) - 1)
        bits = FORMATS[weights].element.bits
        assert more < (0.03 if bits > 4 and activations == "int8" else 0.1), more


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kv", KV)
def test_keys_and_values_of_every_element_predict_a_story(kv, rule, model, tokenizer):
    ids = tokenizer.encode(PASSAGE)
    exact = Inference(model, "int8", "float32").loss(ids)
    more = Inference(model, "int8", "int8", rule=rule, kv=kv).loss(ids) - exact
    assert more / (len(ids) - 1) < 0.04, more / (len(ids) - 1)


def test_position_511_works(model, tokenizer):
    ids = (tokenizer.encode(PASSAGE) * 4)[:512]
    inference = Inference(model, "int4", "float32")
    assert inference.loss(ids) / 511 < INT4_BOUND


def test_int4_weights_write_sentences(model, tokenizer):
    ids = Inference(model, "int4", "int8").greedy(tokenizer.encode("Once upon a time"), 60)
    text = tokenizer.decode(ids)
    assert text.startswith("Once upon a time, ")
    assert text.count(".") >= 2


def test_a_later_token_does_not_change_earlier_logits(model, tokenizer):
    inference = Inference(model, "int4", "int8")
    ids = tokenizer.encode(PASSAGE)[:40]
    whole, part = inference.logits(ids), inference.logits(ids[:33])
    assert np.allclose(whole[:33], part, atol=1e-3)


def test_activations_get_a_power_of_two_scale():
    x = np.zeros((1, 40), np.float32)
    x[0, :4] = [3.0, -1.01, 0.02, 1.99]  # scale 2**(1 - 6)
    x[0, 35] = 1.999  # rounds to 128 quanta of 2**-6, cut to 127
    assert round_activations(x)[0, :4].tolist() == [3.0, -1.0, 0.03125, 2.0]
    assert round_activations(x)[0, 35] == 127 / 64
    assert round_activations(x, rule="up")[0, 35] == 2
    assert round_activations(x, "e4m3")[0, :4].tolist() == [3.0, -1.0, 0.01953125, 2.0]
    assert round_activations(x, "e5m2", group=2)[0, 35] == 2


def test_the_tokenizer_gives_texts_back(tokenizer):
    strange = " two  spaces\n\nand lines", "é 漢字 €5 [Q] <0x41>"
    for text in (PASSAGE, "", *strange, *own_stories(5, 1)):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert encode_texts(tokenizer, [text]) == [ids]


def test_the_tokenizer_is_that_of_llama2_c(tokenizer):
    assert tokenizer.pieces[:4] == [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"<0x00>"]
    assert tokenizer.encode("\n")[-1] == 3 + 10
    ids = tokenizer.encode(PASSAGE)
    assert ids[0] == BOS and len(PASSAGE) / len(ids) > 2


def test_a_tokenizer_learns_the_commonest_words_first():
    learnt = train_tokenizer(["the cat sat on the mat. "] * 50, size=280, rarest_char=1)
    assert len(learnt) == 280
    assert learnt.decode(learnt.encode("the mat sat.")) == "the mat sat."
    assert len(learnt.encode(" the", bos=False)) <= 2


def test_composed_stories_repeat_with_their_seed():
    assert own_stories(50, 7) == own_stories(50, 7)
    assert len(set(own_stories(50, 7))) == 50
    assert not any("{" in story for story in own_stories(200, 3))


@pytest.mark.parametrize("change, message", [
    (lambda t: t | {"wk": t["wk"][:, :1]}, r"wk must have shape \(5, 64, 128\)"),
    (lambda t: t | {"w1": t["w1"] * np.float32("nan")}, "w1 has values that are not finite"),
], ids=["shape", "nan"])
def test_a_wrong_tensor_is_not_written(change, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_model(tmp_path / "wrong.bin", ModelConfig(), change(tensors(model)))
    assert not (tmp_path / "wrong.bin").exists()


@pytest.mark.parametrize("sizes, error, message", [
    ({"dim": 100}, ValueError, "dim must be a multiple of 32, not 100"),
    ({"n_heads": 3}, ValueError, "dim 128 must split into 3 heads"),
    ({"n_layers": 0}, TypeError, "n_layers must be a positive integer, not 0"),
], ids=["dim", "heads", "layers"])
def test_wrong_sizes_are_refused(sizes, error, message):
    with pytest.raises(error, match=message):
        ModelConfig(**sizes)


def test_texts_that_do_not_fit_are_refused(model):
    inference = Inference(model, "float32", "float32")
    with pytest.raises(ValueError, match="expected 1 to 512 tokens, not 513"):
        inference.logits([1] * 513)
    with pytest.raises(ValueError, match="activations must be one of float32, int8, .* 'int2'"):
        Inference(model, "int8", "int2")
    with pytest.raises(ValueError, match="weights must be one of float32, int8, .*, not 'int2'"):
        Inference(model, "int2", "float32")
