"""What the compiler makes of weights that a file holds in formats of the machine."""

from dataclasses import replace

import numpy as np
import pytest

from hw.config import load as load_config
from sw.compile.compiler import compile_model
from sw.compile.layers import quantise_model
from sw.compile.matrix import Matrix, promote
from sw.models import load
from sw.models.bundled import BUNDLED
from sw.models.stored import Stored
from sw.quantise import dequantise_weights
from sw.runtime.emulator import Emulator
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.gguf_files import Type, save_gguf
from tests.models import random_model


MODEL = random_model(dim=128, hidden=192, n_layers=2, n_heads=4, n_kv_heads=2, vocabulary=96,
                     context=16)
MATRICES = "wq", "wk", "wv", "wo", "w1", "w2", "w3"


def integers(model):
    """The quantised model; matrices of its last layer, and the classifier."""
    quantised = quantise_model(model)
    layer = quantised.layers[-1]
    return quantised, {"kvq": layer.kvq, "output": layer.output, "down": layer.down,
                       "classifier": quantised.classifier}


@pytest.mark.parametrize("type", [Type.Q8_0, Type.Q4_0, Type.MXFP4, Type.NVFP4],
                         ids=lambda t: t.name)
def test_compiled_integers_and_scales_are_those_of_the_file(tmp_path, type):
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", {"": type}))
    if type == Type.NVFP4:
        model = with_equal_factors(model)
    quantised, found = integers(model)
    layer = model.layers[-1]
    wanted = {"kvq": [layer.wk, layer.wv, layer.wq], "output": [layer.wo], "down": [layer.w2],
              "classifier": [model.classifier]}
    for name, parts in wanted.items():
        matrix = found[name]
        assert matrix.format == parts[0].format and matrix.factor == parts[0].factor
        assert np.array_equal(matrix.weights, np.concatenate([w.integers for w in parts])), name
        scales = np.concatenate([w.scales for w in parts])
        assert np.array_equal(matrix.scales, scales) and matrix.scales.dtype == scales.dtype
    gate_up = quantised.layers[-1].gate_up
    assert np.array_equal(gate_up.weights[:32], layer.w1.integers[:32])
    assert np.array_equal(gate_up.scales[32:64], layer.w3.scales[:32])
    assert np.array_equal(gate_up.weights[64:96], layer.w1.integers[32:64])
    assert not quantised.notes and quantised.format == model.layers[0].wq.format


def with_equal_factors(model):
    """The model with one factor for all matrices, as files have it for those made together."""
    def changed(w):
        return replace(w, factor=np.float32(1 / 1024)) if isinstance(w, Stored) else w

    layers = tuple(replace(layer, **{key: changed(getattr(layer, key)) for key in MATRICES})
                   for layer in model.layers)
    return replace(model, layers=layers, classifier=changed(model.classifier))


@pytest.mark.parametrize("slices", [16, 128])
def test_zeros_are_appended_to_stored_weights(tmp_path, slices):
    source = random_model(dim=64, hidden=96, n_heads=2, n_kv_heads=1, n_layers=1, vocabulary=70)
    model = load(save_gguf(source, tmp_path / "m.gguf", {"": Type.Q4_0}))
    quantised = quantise_model(model, "int4", slices)
    assert 32 * quantised.head_blocks == max(32, slices)
    w, output = model.layers[0], quantised.layers[0].output
    assert np.array_equal(output.weights[:64], w.wo.integers) and not output.weights[64:].any()
    assert np.array_equal(output.scales[:64], w.wo.scales) and not output.scales[64:].any()
    kvq = quantised.layers[0].kvq
    assert np.array_equal(kvq.weights[64:128, :64], w.wq.integers)
    assert not kvq.weights[128:].any() and not kvq.weights[:, 64:].any()
    assert not kvq.scales[128:].any() and not kvq.scales[:, 2:].any()
    assert np.isnan(quantised.classifier.scales[70:]).all()


@pytest.mark.parametrize("types, format", [
    ({"attn_k": Type.Q8_0, "": Type.Q4_0}, "int8"),
    ({"attn_k": Type.Q4_0, "": Type.Q8_0}, "int8"),
], ids=["one of 8 bits", "one of 4 bits"])
def test_int4_becomes_int8_exactly_where_both_meet(tmp_path, types, format):
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", types))
    quantised = quantise_model(model, model.format)
    w, kvq = model.layers[1], quantised.layers[1].kvq
    assert kvq.format == format and not quantised.notes
    assert np.array_equal(dequantise_weights(*kvq), np.concatenate(
        [x.dequantise() for x in (w.wk, w.wv, w.wq)]))
    assert quantised.layers[1].down.format == model.format


@pytest.mark.parametrize("format", ["mxint8", "mxfp8", "mxfp6"])
def test_mxfp4_becomes_a_wider_element_exactly(tmp_path, format):
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", {
        "attn_q": Type.MXFP4, "attn_v": Type.MXFP4, "ffn": Type.MXFP4}))
    quantised = quantise_model(model, format)
    kvq, w = quantised.layers[0].kvq, model.layers[0]
    assert kvq.format == format and quantised.layers[0].gate_up.format == "mxfp4"
    assert np.array_equal(dequantise_weights(*kvq)[64:], np.concatenate(
        [w.wv.dequantise(), w.wq.dequantise()]))
    assert not quantised.notes


def test_scales_at_the_end_of_their_range_are_not_raised():
    integers = np.full((1, 32), 12, np.int8)
    for code, wanted in ((252, "mxint8"), (253, None)):
        matrix = Matrix(integers, np.array([[code]], np.uint8), "mxfp4")
        found = promote(matrix, "mxint8")
        assert (found and found.format) == wanted
        assert promote(matrix, "mxfp8").scales[0, 0] == code
    assert found is None and promote(matrix, "int8") is None
    assert promote(Matrix(integers, np.ones((1, 1), np.float16), "int8"), "int4") is None


def test_the_finest_format_wins(tmp_path):
    types = {"attn_k": Type.Q8_0, "": Type.MXFP4}
    quantised = quantise_model(load(save_gguf(MODEL, tmp_path / "m.gguf", types)))
    assert quantised.layers[0].kvq.format == "int8" and quantised.layers[0].down.format == "mxfp4"
    assert quantised.notes[0].startswith("4 matrices were rounded again, from mxfp4 to int8")


def test_what_no_format_holds_is_rounded_again_and_noted(tmp_path):
    types = {"attn_k": Type.MXFP4, "attn_output": Type.Q5_0, "": Type.Q8_0}
    quantised = quantise_model(load(save_gguf(MODEL, tmp_path / "m.gguf", types)))
    assert quantised.layers[0].kvq.format == "int8"
    assert quantised.notes == (
        "2 matrices were rounded again, from mxfp4 to int8, because other matrices that are used "
        "with them have that format",
        "2 matrices were rounded again, from Q5_0 to int8")


def test_what_was_rounded_otherwise_becomes_int8_unless_asked(tmp_path):
    """As in files of llama-quantize, whose output matrix is finer than the others."""
    types = {"embd": Type.Q5_1, "ffn_down": Type.F16, "": Type.Q4_0}
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", types))
    quantised = quantise_model(model)
    assert quantised.classifier.format == "int8"
    assert quantised.layers[0].down.format == "int4" == quantised.layers[0].kvq.format
    assert quantised.notes == ("1 matrix was rounded again, from Q5_1 to int8",)
    asked = quantise_model(model, "mxfp8")
    assert asked.classifier.format == "mxfp8" == asked.layers[0].down.format
    assert asked.layers[0].kvq.format == "int4" and model.formats("mxfp8") == {"int4", "mxfp8"}
    error = np.abs(dequantise_weights(*quantised.classifier) - model.embedding).max()
    assert error <= np.abs(model.embedding).max() / 254 * 1.01


def test_layers_of_different_formats_are_made_alike(tmp_path):
    types = {"1.ffn_down": Type.Q8_0, "": Type.Q4_0}
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", types))
    quantised = quantise_model(model, "int4")
    for n in range(2):
        down = quantised.layers[n].down
        assert down.format == "int8"
        assert np.array_equal(dequantise_weights(*down), model.layers[n].w2.dequantise())
    assert not quantised.notes and quantised.format == "int4 and int8"


def test_factors_that_differ_need_rounding(tmp_path):
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", {"attn": Type.NVFP4}))
    quantised = quantise_model(model, "nvfp4")
    assert quantised.layers[0].kvq.format == "int8"
    assert quantised.layers[0].output.factor == model.layers[0].wo.factor
    assert quantised.notes == (
        "6 matrices were rounded again, from nvfp4 to int8, because other matrices that are used "
        "with them have that format",)


def test_heads_that_are_no_blocks_need_rounding(tmp_path):
    source = random_model(dim=160, hidden=64, n_heads=8, n_kv_heads=4, n_layers=1)
    model = load(save_gguf(source, tmp_path / "m.gguf", {"": Type.Q8_0}))
    quantised = quantise_model(model, "int8")
    output = dequantise_weights(*quantised.layers[0].output)[:, 32:52]
    assert np.abs(output - model.layers[0].wo.dequantise()[:, 20:40]).max() < 0.01
    assert quantised.notes == (
        "1 matrix was rounded again, from int8 in heads of 20 elements to int8",)


def test_heads_of_half_blocks_keep_their_scales(tmp_path):
    source = random_model(dim=96, hidden=64, n_heads=2, n_kv_heads=1, n_layers=1)
    model = load(save_gguf(source, tmp_path / "m.gguf", {"": Type.Q4_0}))
    quantised = quantise_model(model, "int4")
    output, w = quantised.layers[0].output, model.layers[0]
    assert output.format == "int4" and not quantised.notes
    assert np.array_equal(dequantise_weights(*output), w.wo.dequantise())
    assert np.array_equal(dequantise_weights(*quantised.layers[0].kvq)[128:224], w.wq.dequantise())
    run(model, "sim", "int4")


def run(model, config, format, prompt=(1, 5, 9), tokens=3):
    """Tokens of a run on the emulator of a configuration or a preset; compares with the reference.
    """
    if isinstance(config, str):
        config = load_config(config)
    compiled = compile_model(model, config, list(prompt), tokens, format=format,
                             check=True)
    device = Emulator(compiled.config, memory_bytes=compiled.memory.bytes)
    session = Session(device, compiled)
    verifier = Verifier(device, compiled)
    list(session.tokens())
    verifier.verify(session.outcome)
    return session.outcome.tokens


@pytest.mark.parametrize("types", [
    {"": Type.Q8_0}, {"": Type.Q4_0}, {"output": Type.Q4_0, "embd": Type.Q8_0, "": Type.MXFP4},
    {"attn_v": Type.Q8_0, "": Type.Q4_0}], ids=["Q8_0", "Q4_0", "MXFP4", "mixed"])
def test_models_of_files_run(tmp_path, types):
    run(load(save_gguf(MODEL, tmp_path / "m.gguf", types)), "formats", "int8")


def test_a_model_of_nvfp4_runs(tmp_path):
    """Products that have several factors are of int8."""
    config = replace(load_config("formats"), formats=("int8", "nvfp4"))
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", {"": Type.NVFP4}))
    run(model, config, "nvfp4")
    run(with_equal_factors(model), config, "nvfp4")


def test_the_bundled_model_writes_the_same_from_either_file(tmp_path):
    source = load(BUNDLED)
    model = load(save_gguf(source, tmp_path / "m.gguf", {"": Type.Q8_0}))
    prompt = [1, 403, 407, 261, 378]
    assert run(model, "sim", "int8", prompt, 3) == run(source, "sim", "int8", prompt, 3)


def test_the_tokens_that_end_a_text_come_from_the_file(tmp_path):
    def tokenizer(writer):
        writer.add_eos_token_id(17)
        writer.add_eot_token_id(40)

    model = load(save_gguf(MODEL, tmp_path / "m.gguf", tokenizer=tokenizer))
    assert model.ends == (17, 40) and quantise_model(model, "int8").ends == (17, 40)
    assert load(save_gguf(MODEL, tmp_path / "n.gguf")).ends == (1, 2)
    first = run(replace(model, ends=(1, 2)), "sim", "int8", tokens=5)
    again = run(replace(model, ends=(17, first[-1])), "sim", "int8", tokens=5)
    assert again == first[:first.index(first[-1])]


def test_heads_may_be_larger_than_their_share(tmp_path):
    rng = np.random.default_rng(1)
    wide = [replace(layer, wq=rng.standard_normal((256, 128), np.float32),
                    wk=rng.standard_normal((128, 128), np.float32),
                    wv=rng.standard_normal((128, 128), np.float32),
                    wo=rng.standard_normal((128, 256), np.float32)) for layer in MODEL.layers]
    source = replace(MODEL, layers=tuple(wide), head_size=64)
    model = load(save_gguf(source, tmp_path / "m.gguf", {"attn": Type.Q8_0}, changed={
        "attention.key_length": 64, "attention.value_length": 64}))
    assert model.head == 64 and model.angles(3).shape == (3, 32)
    run(model, "sim", "int8")
