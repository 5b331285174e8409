"""Calibrated models: what they lose, what stays as it was, their text, and their files."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from hw.formats import FORMATS
from sw.calibrate import calibrated, choose
from sw.calibrate.cache import digest
from sw.calibrate.evaluate import nearest
from sw.calibrate.passes import walk
from sw.calibrate.text import from_file, step, written
from sw.calibrate.weights import places, restored
from sw.cli import application
from sw.compile.layers import quantise_model
from sw.errors import UserError
from sw.models import load
from sw.models.bundled import BUNDLED
from sw.models.stored import Foreign, Stored
from sw.quantise import quantise_weights
from sw.tokenizer import Tokenizer
from sw.train.evaluate import mean_loss
from sw.train.inference import Inference
from sw.train.own_stories import own_stories
from tests.models import float_logits, random_model, save, save_tokenizer
from verif.reference.forward import State, forward


#: Sizes that are no whole blocks.
ODD = dict(dim=60, hidden=44, n_heads=3, n_kv_heads=1)


def texts(seed, count=12, length=40):
    return np.random.default_rng(seed).integers(0, 300, (count, length))


def logits_error(model, found, tokens):
    return np.square(float_logits(restored(found), tokens) - float_logits(model, tokens)).mean()


@pytest.fixture
def folder(tmp_path):
    save(random_model(shared=False, context=64), tmp_path / "model.bin")
    save_tokenizer(tmp_path / "tokenizer.bin", 300, [" ", "a", "b", "ab"])
    return tmp_path


@pytest.fixture
def tokenizer(folder):
    return Tokenizer.load(folder / "tokenizer.bin")


def wide_heads():
    """A model whose heads have more elements together than the residual stream."""
    model, rng = random_model(dim=64, n_heads=2, n_kv_heads=1), np.random.default_rng(3)
    shapes = {"wq": (96, 64), "wk": (48, 64), "wv": (48, 64), "wo": (64, 96)}
    layers = [replace(layer, **{name: (rng.normal(size=shape) / 8).astype(np.float32)
                                for name, shape in shapes.items()}) for layer in model.layers]
    return replace(model, layers=tuple(layers), head_size=48)


def test_heads_may_be_wider_than_the_residual_stream():
    model = wide_heads()
    found = calibrated(model, "int4", texts(1, 40))
    assert found.layers[0].wo.shape == (64, 96)
    assert logits_error(model, found, texts(2)) < logits_error(model, nearest(model, "int4"),
                                                               texts(2))
    compiled = quantise_model(found, "int4")
    assert np.array_equal(compiled.layers[0].output.weights, found.layers[0].wo.integers)
    assert written(model, 1, texts=2).shape == (2, 48)


@pytest.mark.parametrize("sizes", [{}, ODD], ids=["whole", "odd"])
def test_a_pass_makes_the_logits_of_the_model(sizes):
    model, tokens = random_model(**sizes), texts(1)
    *stops, last = walk(model, tokens)
    assert [stop.kind for stop in stops] == 2 * ["attention", "heads", "ffn", "hidden"]
    assert np.allclose(last.inputs @ model.classifier.T, float_logits(model, tokens), atol=1e-4)


@pytest.mark.parametrize("format", ["int4", "mxfp4", "nvfp4", "int4g128", "mxfp6", "int8"])
def test_a_calibrated_model_is_closer_to_the_exact_one(format):
    model = random_model(seed=2, sharpness=1)
    found = calibrated(model, format, texts(1, 40))
    error = logits_error(model, found, texts(2))
    assert error < 0.85 * logits_error(model, nearest(model, format), texts(2))


def test_corrected_matrices_lose_less():
    model, tokens = random_model(n_layers=4, sharpness=1), texts(1, 40)
    plain, corrected = (logits_error(model, calibrated(model, "mxfp4", tokens, correct=correct),
                                     texts(2)) for correct in (False, True))
    assert corrected < plain


def test_the_bundled_model_loses_less():
    """On stories that were composed from other sentences than its own."""
    model, tokenizer = load(BUNDLED), Tokenizer.beside(BUNDLED, 512)
    tokens = [token for story in own_stories(40, 7) for token in tokenizer.encode(story)]
    found = calibrated(model, "mxfp4", written(model, 1, texts=16))
    exact, plain, corrected = (
        mean_loss(Inference(restored(m), "float32", "float32"), tokens[:4096])
        for m in (model, nearest(model, "mxfp4"), found))
    assert exact < corrected < exact + 0.6 * (plain - exact)


@pytest.mark.parametrize("format", ["int4", "nvfp4", "int8row"])
@pytest.mark.parametrize("sizes", [{}, ODD], ids=["whole", "odd"])
def test_the_compiler_keeps_what_was_rounded(format, sizes):
    """And padding for wide machines changes no bit."""
    found = calibrated(random_model(**sizes), format, texts(1))
    logits = []
    for slices in (1, 64):
        model = quantise_model(found, format, slices)
        assert model.notes == () and {m.format for m in model.matrices} == {format}
        logits.append(forward(model, 50, 0, State.empty(model)))
        integers = found.layers[1].w2.integers
        kept = model.layers[1].down.weights[:integers.shape[0], :integers.shape[1]]
        # Rows may end in half a block.
        columns = kept.shape[1]
        assert np.array_equal(kept, integers[:, :columns]) and not integers[:, columns:].any()
    assert np.array_equal(*(x.view(np.uint32) for x in logits))


@pytest.mark.parametrize("sizes", [{}, ODD], ids=["whole", "odd"])
@pytest.mark.parametrize("format", FORMATS)
def test_groups_are_those_of_the_compiler(format, sizes):
    """What is rounded to nearest here is what the compiler makes of the arrays."""
    model = random_model(**sizes)
    plain, found = (quantise_model(m, format) for m in (model, nearest(model, format)))
    for a, b in zip(plain.matrices, found.matrices):
        # Scales of rows of zeros have no meaning.
        used = a.weights.any(axis=1)
        assert np.array_equal(a.weights, b.weights) and a.factor == b.factor
        assert np.array_equal(a.scales[used], b.scales[used])


def test_stored_weights_stay_and_others_are_rounded():
    model = random_model()
    first = model.layers[0]
    w2 = Stored(*quantise_weights(first.w2, "int8")[:2], "int8")
    model = replace(model, layers=(replace(first, w2=w2, wq=Foreign(first.wq, "Q4_1")),
                                   *model.layers[1:]))
    found = calibrated(model, None, texts(1))
    assert found.layers[0].w2 is w2
    formats = {place: w.format for place, w in places(found)}
    # As the compiler does: arrays become int4, what was rounded otherwise becomes int8.
    assert formats[0, "wq"] == "int8" and formats[0, "wk"] == "int4" == formats[1, "w2"]
    assert calibrated(found, None, texts(1)).layers[0].wq is found.layers[0].wq


def test_inputs_that_overflow_are_an_error():
    model = random_model()
    gain = model.layers[1].attention_norm * np.float32(1e38)
    huge = replace(model.layers[1], attention_norm=gain)
    with pytest.raises(UserError, match="^the weights wk, wv, wq of layer 1 of random cannot be "
                                        "rounded to int4: inputs of the calibration text are not"):
        with np.errstate(all="ignore"):
            calibrated(replace(model, layers=(model.layers[0], huge)), "int4", texts(1))


def test_the_model_writes_from_its_own_distributions():
    model = random_model(context=48)
    tokens = written(model, 1, texts=3, seed=5)
    assert tokens.shape == (3, 48) and (tokens[:, 0] == 1).all()
    assert np.array_equal(tokens, written(model, 1, texts=3, seed=5))
    assert not np.array_equal(tokens, written(model, 1, texts=3, seed=6))
    cache = np.empty((2, 2, 3, 2, 48, 16), np.float32)
    logits = [step(model, tokens[:, n], n, cache, model.angles(48)[n]) for n in range(48)]
    assert np.allclose(np.stack(logits, 1), float_logits(model, tokens), atol=1e-4)


def test_a_file_is_cut_into_texts(folder, tokenizer):
    path = folder / "text.txt"
    path.write_text("ab " * 200)
    tokens = from_file(path, tokenizer, context=64)
    assert tokens.shape[1] == 64 and (tokens[:, 0] == 1).all()
    wanted = tokenizer.encode("ab " * 200, bos=False)
    assert tokens[:, 1:].ravel().tolist() == wanted[:tokens[:, 1:].size]
    assert len(from_file(path, tokenizer, context=64, texts=2)) == 2


@pytest.mark.parametrize("content, sentence", [
    (b"", "has 0 tokens; at least 63 are needed"),
    (b"ab ab", "has 4 tokens; at least 63 are needed"),
    (b"ab \xff\xfe", "is not UTF-8"),
    (None, "cannot be read: No such file")], ids=["empty", "short", "damaged", "missing"])
def test_texts_that_are_no_use_are_refused(folder, tokenizer, content, sentence):
    path = folder / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^the calibration text {path} {sentence}"):
        choose("gptq", random_model(context=64), "int4", tokenizer, calibration=path,
               folder=folder)


def same(a, b):
    return all(np.array_equal(x.integers, y.integers) and np.array_equal(x.scales, y.scales)
               and x.factor == y.factor and x.integers.dtype == y.integers.dtype
               for (_, x), (_, y) in zip(places(a), places(b)))


@pytest.mark.parametrize("format", ["int4", "nvfp4", "mxfp8e5m2"])
def test_the_second_time_is_read_from_a_file(folder, tokenizer, format):
    model, lines = load(folder / "model.bin"), []
    first = choose("gptq", model, format, tokenizer, folder=folder / "kept", show=lines.append)
    assert lines[0] == "the model writes calibration text: 2 of 64 tokens"
    assert lines[-1] == "calibration: 15 of 15 matrices"
    again = choose("gptq", model, format, tokenizer, folder=folder / "kept", show=pytest.fail)
    assert same(first, again)
    (path,) = (folder / "kept").iterdir()
    for damage in (b"", b"PK\3\4 nonsense", path.read_bytes()[:-400]):
        path.write_bytes(damage)
        lines.clear()
        repaired = choose("gptq", model, format, tokenizer, folder=folder / "kept",
                          show=lines.append)
        assert lines and same(first, repaired)


def test_where_nothing_can_be_written_calibration_still_works(folder, tokenizer):
    (folder / "file").write_text("")
    found = choose("gptq", random_model(context=16), "mxfp4", tokenizer, folder=folder / "file")
    assert found.classifier.format == "mxfp4"


def test_results_of_other_models_and_settings_have_other_names():
    model = random_model()
    other = replace(model, layers=(model.layers[0], replace(
        model.layers[1], wo=model.layers[1].wo + np.float32(1e-3))))
    variants = [(model, "a"), (model, "b"), (other, "a"), (replace(model, theta=5e5), "a"),
                (random_model(shared=False), "a")]
    assert len({digest(*both) for both in variants}) == len(variants)
    assert digest(random_model(), "a") == digest(random_model(), b"a")


def test_choices_that_make_no_sense_are_refused(folder, tokenizer):
    model = random_model()
    assert choose("nearest", model, "int4", tokenizer) is model
    with pytest.raises(UserError, match="^the quantiser must be nearest or gptq, not 'best'$"):
        choose("best", model, "int4", tokenizer)
    with pytest.raises(UserError, match="^a calibration text is for the quantiser gptq"):
        choose("nearest", model, "int4", tokenizer, calibration=folder / "text")
    with pytest.raises(UserError, match="^random holds all of its weights in formats of the mach"):
        choose("gptq", nearest(model, "int8"), None, tokenizer)


def test_run_calibrates_with_a_file(folder, monkeypatch):
    monkeypatch.setattr("sw.calibrate.choice.build_root", lambda: folder / "build")
    (folder / "text.txt").write_text("ab " * 200)
    arguments = ["run", folder / "model.bin", "--device", "emulator", "--tokens", 3, "--check",
                 "--prompt", "ab", "--quantiser", "gptq", "--calibration", folder / "text.txt"]
    for _ in range(2):
        result = CliRunner().invoke(application(), list(map(str, arguments)))
        assert result.exit_code == 0 and "bit for bit" in result.stdout
    assert len(list((folder / "build" / "calibrated").iterdir())) == 1
