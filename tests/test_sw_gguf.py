"""Models from GGUF files: weights as they are in the file, and what is said about bad files."""

import struct
from dataclasses import replace

import gguf
import numpy as np
import pytest

from hw.formats import FORMATS
from sw.errors import UserError
from sw.models import load
from sw.models.attention import Attention
from sw.models.stored import LAYOUTS, Foreign, Stored
from tests.gguf_files import NAMES, Type, save_gguf, stored_bytes
from tests.models import random_model


MODEL = random_model(dim=128, hidden=192, n_layers=2, n_heads=4, n_kv_heads=2, vocabulary=96,
                     context=16)
MATRICES = "wq", "wk", "wv", "wo", "w1", "w2", "w3"
ALL = {"": Type.Q4_0}


def dequantised(w, type):
    return gguf.quants.dequantize(stored_bytes(w, type), type)


# What is read

@pytest.mark.parametrize("shared", [True, False], ids=["shared", "unshared"])
@pytest.mark.parametrize("type", [Type.Q8_0, Type.Q4_0, Type.MXFP4], ids=lambda t: t.name)
def test_stored_weights_are_those_of_the_file(tmp_path, type, shared):
    source = replace(MODEL, classifier=MODEL.embedding if shared else MODEL.embedding[::-1])
    model = load(save_gguf(source, tmp_path / "m.gguf", {"": type}))
    for got, wanted in zip(model.layers, source.layers):
        assert np.array_equal(got.attention_norm, wanted.attention_norm)
        assert np.array_equal(got.ffn_norm, wanted.ffn_norm)
        for key in MATRICES:
            stored = getattr(got, key)
            assert isinstance(stored, Stored) and stored.format == LAYOUTS[type.name][0]
            assert np.array_equal(stored.dequantise(), dequantised(getattr(wanted, key), type)), key
    assert np.array_equal(model.embedding, dequantised(source.embedding, type))
    assert np.array_equal(model.classifier.dequantise(), dequantised(source.classifier, type))
    assert model.parameters == source.parameters and model.shared == shared
    assert model.formats() == {model.format} == {LAYOUTS[type.name][0]}


def test_nvfp4_has_two_scales_a_block_and_a_factor(tmp_path):
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", {"attn_q": Type.NVFP4}))
    w = MODEL.layers[1].wq
    stored = model.layers[1].wq
    assert stored.scales.shape == (128, 8) and stored.factor > 0
    wanted = dequantised(w, Type.NVFP4).astype(np.float64) * float(stored.factor)
    assert np.array_equal(stored.dequantise(), wanted.astype(np.float32))
    assert np.abs(stored.dequantise() - w).max() < np.abs(w).max() / 5
    assert model.format == "nvfp4"


@pytest.mark.parametrize("type, error", [
    (Type.F32, 0), (Type.F16, 1e-3), (Type.BF16, 8e-3), (Type.Q4_1, 0.2), (Type.Q5_0, 0.2),
    (Type.Q5_1, 0.1)], ids=lambda value: getattr(value, "name", ""))
def test_other_types_become_float32(tmp_path, type, error):
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", {"ffn_up": type}))
    w = MODEL.layers[1].w3
    found = model.layers[1].w3
    if type not in (Type.F32, Type.F16, Type.BF16):
        assert isinstance(found, Foreign) and found.type == type.name
        found = found.dequantise()
    assert found.dtype == np.float32 and model.formats() == {"int8"}
    assert np.abs(found - w).max() <= error * np.abs(w).max()


def test_types_of_larger_blocks_are_read(tmp_path):
    source = random_model(dim=256, hidden=256, n_layers=1, vocabulary=64)
    model = load(save_gguf(source, tmp_path / "m.gguf", {"embd": Type.Q6_K, "": Type.Q4_0}))
    wanted = dequantised(source.embedding, Type.Q6_K)
    assert np.array_equal(model.embedding, wanted) and wanted.any()
    assert np.array_equal(model.classifier.dequantise(), wanted)
    assert model.formats() == {"int4", "int8"} and model.parameters == source.parameters


def test_the_last_e8m0_code_is_not_a_number(tmp_path):
    path = save_gguf(MODEL, tmp_path / "m.gguf", {"attn_q": Type.MXFP4})
    raw = bytearray(path.read_bytes())
    at = raw.rindex(stored_bytes(MODEL.layers[0].wq, Type.MXFP4).tobytes())
    raw[at + 17 * 5] = 0xFF
    path.write_bytes(raw)
    assert "in the tensor blk.0.attn_q.weight, the scale of block 1 of row 1 is not a number" in (
        sentence(path))


def test_sizes_come_from_the_metadata(tmp_path):
    source = random_model(dim=96, hidden=64, n_heads=6, n_kv_heads=3, n_layers=1, vocabulary=50)
    source = replace(source, theta=50000.0, epsilon=2.0**-16)
    model = load(save_gguf(source, tmp_path / "m.gguf"))
    assert (model.name, model.dim, model.hidden, model.n_heads, model.n_kv_heads, model.head,
            model.vocabulary, model.context, model.theta, model.epsilon) == (
        "m", 96, 64, 6, 3, 16, 50, 48, 50000.0, 2.0**-16)
    assert np.array_equal(model.angles(9), source.angles(9))


def test_rotary_frequencies_are_divided(tmp_path):
    factors = np.linspace(1, 8, 16)
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", more={"rope_freqs.weight": factors}))
    assert np.allclose(model.angles(5)[4] * factors.astype(np.float32), MODEL.angles(5)[4])
    model = load(save_gguf(MODEL, tmp_path / "n.gguf", changed={
        "rope.scaling.type": "linear", "rope.scaling.factor": 4.0}))
    assert np.array_equal(model.angles(5)[4], MODEL.angles(5)[1])


def test_positions_beyond_what_is_sensible_are_cut(tmp_path):
    model = load(save_gguf(MODEL, tmp_path / "m.gguf", changed={"context_length": 1 << 20}))
    assert model.context == 1 << 18
    assert model.notes == ("m sees 1048576 positions; the first 262144 are used",)


def test_windows_are_those_of_the_file(tmp_path):
    def sees(**changed):
        return load(save_gguf(MODEL, tmp_path / "m.gguf", changed={
            f"attention.{key}": value for key, value in changed.items()})).attention

    assert sees() == sees(sliding_window=0) == ()
    assert sees(sliding_window=9) == (Attention(9), Attention(9))
    assert sees(sliding_window=9, sliding_window_pattern=2) == (Attention(9), Attention())
    assert sees(sliding_window=9, sliding_window_pattern=[False, True]) == (
        Attention(), Attention(9))


# What is refused

def sentence(path):
    with pytest.raises(UserError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 300
    return text.replace(str(path), "PATH")


def refusal(path, *arguments, **more):
    return sentence(save_gguf(MODEL, path / "m.gguf", *arguments, **more))


def test_other_architectures_are_named(tmp_path):
    assert refusal(tmp_path, architecture="qwen2") == (
        "PATH holds a model of the architecture 'qwen2'; those that can be run are llama, "
        "internlm2, xverse")


@pytest.mark.parametrize("changed, wrong", [
    ({"expert_count": 8}, "a model with llama.expert_count cannot be run"),
    ({"attention.causal": False}, "a model with llama.attention.causal cannot be run"),
    ({"rope.scaling.type": "yarn"}, "rotary scaling of type 'yarn' cannot be run"),
    ({"rope.dimension_count": 16}, "llama.rope.dimension_count must be the size of a head, 32, "
                                   "not 16"),
    ({"attention.value_length": 64}, "llama.attention.value_length must be the size of a head"),
    ({"attention.head_count": 5}, "128 elements do not split into 5 heads"),
    ({"attention.head_count_kv": 3}, "4 heads must share 3 KV heads evenly"),
    ({"attention.head_count_kv": [2, 2]}, "must be a whole number from 1 to 4096, not 2 values"),
    ({"block_count": 0}, "llama.block_count must be a whole number from 1 to 4096, not 0"),
    ({"block_count": 3}, "PATH lacks the tensor blk.2.attn_norm.weight"),
    ({"block_count": 1}, "the tensor 'blk.1.attn_norm.weight' has no place in the models"),
    ({"block_count": "2"}, "llama.block_count must be a whole number from 1 to 4096, not '2'"),
    ({"context_length": 2**31}, "llama.context_length must be a whole number from 1 to"),
    ({"embedding_length": 64, "attention.key_length": 32},
     "must have the shape (96, 64), not (96, 128)"),
    ({"feed_forward_length": 224}, "must have the shape (224, 128), not (192, 128)"),
    ({"rope.freq_base": -1.0}, "llama.rope.freq_base must be a positive number, not -1.0"),
    ({"attention.layer_norm_rms_epsilon": float("nan")}, "must be a positive number, not nan"),
    ({"attention.sliding_window": 1 << 20},
     "sliding_window must be a whole number from 0 to 1048575"),
    ({"attention.sliding_window": 8, "attention.sliding_window_pattern": [True]},
     "sliding_window_pattern must be a whole number, or true or false for each of 2 layers"),
    ({"split.count": 3}, "PATH is one part of a model that is split into several files"),
    ({"general.alignment": 48}, "its alignment must be a power of two, not 48"),
], ids=lambda value: "" if isinstance(value, str) else str(value))
def test_metadata_is_checked(tmp_path, changed, wrong):
    if "general.alignment" in changed:
        path = save_gguf(MODEL, tmp_path / "m.gguf", changed={"general.alignment": 64})
        raw = path.read_bytes()
        at = raw.index(b"general.alignment") + 17 + 4
        path.write_bytes(raw[:at] + struct.pack("<I", 48) + raw[at + 4:])
        assert wrong in sentence(path)
    else:
        assert wrong in refusal(tmp_path, changed=changed)


@pytest.mark.parametrize("name, wrong", [
    ("block_count", "PATH lacks the metadata llama.block_count"),
    ("attention.layer_norm_rms_epsilon",
     "PATH lacks the metadata llama.attention.layer_norm_rms_epsilon"),
    ("token_embd.weight", "PATH lacks the tensor token_embd.weight"),
    ("blk.1.ffn_up.weight", "PATH lacks the tensor blk.1.ffn_up.weight"),
])
def test_what_is_missing_is_named(tmp_path, name, wrong):
    assert refusal(tmp_path, leave_out=(name,)) == wrong


def test_tensors_that_would_be_left_out_are_named(tmp_path):
    assert "the tensor 'blk.0.attn_q.bias' has no place" in refusal(
        tmp_path, more={"blk.0.attn_q.bias": np.zeros(128)})


def test_norms_must_be_floating_point(tmp_path):
    path = save_gguf(MODEL, tmp_path / "m.gguf")
    raw = path.read_bytes()
    at = raw.index(b"blk.0.attn_norm.weight") + 22 + 4 + 8
    path.write_bytes(raw[:at] + struct.pack("<I", Type.I32) + raw[at + 4:])
    assert "blk.0.attn_norm.weight must hold floating-point numbers, not I32" in sentence(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(tmp_path, value):
    layer = replace(MODEL.layers[1], w2=np.full_like(MODEL.layers[1].w2, value))
    path = save_gguf(replace(MODEL, layers=(MODEL.layers[0], layer)), tmp_path / "m.gguf")
    assert "the tensor blk.1.ffn_down.weight holds values that are not numbers" in sentence(path)


def test_types_that_cannot_be_read_are_named(tmp_path):
    path = save_gguf(MODEL, tmp_path / "m.gguf")
    raw = path.read_bytes()
    at = raw.index(b"blk.0.attn_q.weight") + 19 + 4 + 16
    path.write_bytes(raw[:at] + struct.pack("<I", Type.I32) + raw[at + 4:])
    assert "the tensor blk.0.attn_q.weight is of type I32, which cannot be read" in sentence(path)
    path.write_bytes(raw[:at] + struct.pack("<I", 99) + raw[at + 4:])
    assert "the tensor 'blk.0.attn_q.weight' has the unknown type 99" in sentence(path)
    path.write_bytes(raw[:at] + struct.pack("<I", Type.Q6_K) + raw[at + 4:])
    assert "have 128 elements, which are no blocks of 256 (Q6_K)" in sentence(path)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = save_gguf(MODEL, tmp_path / "m.gguf", ALL)
    raw = path.read_bytes()
    cuts = [0, 3, 10, 23, 24, 30, 100, 400, 700, 1500, len(raw) // 2, len(raw) - 1]
    for cut in cuts:
        path.write_bytes(raw[:cut])
        text = sentence(path)
        assert any(wrong in text for wrong in (
            "has only", "cut short or damaged", "bytes do", "ends inside")), (cut, text)


def test_flipped_bytes_never_end_in_a_traceback(tmp_path):
    """Each file is refused with one sentence, or is as good as any."""
    path = save_gguf(MODEL, tmp_path / "m.gguf", ALL, tokenizer=lambda w: w.add_token_list(
        [b"a", b"b"]))
    raw = path.read_bytes()
    end = raw.rindex(b".weight") + 40
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        damaged = bytearray(raw)
        for at in rng.integers(4, end, rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100


def header(tensors=0, entries=0, body=b"", version=3):
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, entries) + body


def entry(key, kind, value):
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


HUGE = 2**62


@pytest.mark.parametrize("raw, wrong", [
    (header(version=1), "PATH is a GGUF file of version 1; versions 2 and 3 can be read"),
    (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "PATH is a big-endian GGUF file"),
    (b"GGML" + bytes(100), "PATH is not a GGUF file: it does not begin with GGUF"),
    (header(tensors=HUGE), f"it says that {HUGE} tensors follow, but only 8 bytes do"),
    (header(entries=HUGE), f"it says that {HUGE} metadata entries follow, but only 0 bytes do"),
    (header(0, 1, struct.pack("<Q", HUGE) + bytes(20)), f"{HUGE} bytes are wanted, and 20 are"),
    (header(0, 1, entry(b"", 4, bytes(4))), "metadata entry 0 has a name of 0 bytes"),
    (header(0, 1, entry(b"\xff", 4, bytes(4))), "metadata entry 0 has a name that is not UTF-8"),
    (header(0, 1, entry(b"a", 13, bytes(4))), "the metadata 'a' has the unknown type 13"),
    (header(0, 1, entry(b"a", 9, struct.pack("<IQ", 4, HUGE))), f"{HUGE} numbers of the metadata "
                                                                "'a' follow, but only 0 bytes do"),
    (header(0, 1, entry(b"a", 9, struct.pack("<IQ", 8, HUGE))), f"{HUGE} texts of the metadata"),
    (header(0, 1, entry(b"a", 9, struct.pack("<IQ", 9, 1) + bytes(12))), "unknown type 9"),
    (header(0, 2, entry(b"a", 4, bytes(4)) * 2), "it holds the metadata 'a' twice"),
    (header(), "PATH lacks the metadata general.architecture"),
    (header(1, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, HUGE, 0, 0)),
     f"should have {4 * HUGE} bytes"),
    (header(1, 0, struct.pack("<Q1sI", 1, b"a", 5) + bytes(60)), "has 5 dimensions, where 1 to 4"),
    (header(1, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 0, 0, 0)), "the tensor 'a' has no elements"),
    (header(2, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 1, 0, 0) * 2 + bytes(96)),
     "it holds the tensor 'a' twice"),
    (header(2, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 9, 0, 0)
            + struct.pack("<Q1sIQIQ", 1, b"b", 1, 9, 0, 32) + bytes(96)),
     "the tensors 'a' and 'b' share bytes"),
], ids=lambda value: "" if isinstance(value, bytes) else value[:40])
def test_absurd_files_are_refused(tmp_path, raw, wrong):
    path = tmp_path / "m.gguf"
    path.write_bytes(raw)
    assert wrong in sentence(path)


def test_a_missing_file_is_named(tmp_path):
    assert sentence(tmp_path / "no.gguf") == "the model file PATH does not exist"


def test_every_layout_has_a_format():
    for format, elements, size, _ in LAYOUTS.values():
        bits = FORMATS[format].bits(elements)
        assert bits * elements == 8 * size
    assert set(NAMES.values()) >= {"attn_q", "ffn_down"}
