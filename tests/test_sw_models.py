"""The loader of llama2.c files: what it reads, and what it says about files that it cannot read."""

import struct

import numpy as np
import pytest

from sw.errors import UserError
from sw.models import load
from sw.models.bundled import BUNDLED, model_path
from tests.models import random_model, save


SMALL = dict(dim=64, hidden=96, n_layers=2, n_heads=4, n_kv_heads=2, vocabulary=40, context=8)


def tensors(model):
    named = {"embedding": model.embedding, "norm": model.norm, "classifier": model.classifier}
    for n, layer in enumerate(model.layers):
        named |= {f"{key} {n}": value for key, value in vars(layer).items()}
    return named


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "unshared"])
@pytest.mark.parametrize("version", [0, 1])
def test_float_files_give_the_same_tensors(tmp_path, version, shared):
    model = random_model(**SMALL, shared=shared)
    read = load(save(model, tmp_path / "model.bin", version))
    assert (read.dim, read.hidden, read.n_heads, read.n_kv_heads, read.vocabulary,
            read.context, read.head) == (64, 96, 4, 2, 40, 8, 16)
    assert (read.classifier is read.embedding) == shared
    wanted = tensors(model)
    for name, value in tensors(read).items():
        assert np.array_equal(value, wanted[name]), name


def test_groups_of_int8_are_multiplied_by_their_scales(tmp_path):
    model = random_model(**SMALL, shared=False)
    read = load(save(model, tmp_path / "model.bin", 2))
    wanted = tensors(model)
    for name, value in tensors(read).items():
        assert value.shape == wanted[name].shape
        if "norm" in name:
            assert np.array_equal(value, wanted[name]), name
        else:
            error = np.abs(value - wanted[name]).max()
            assert 0 < error <= np.abs(wanted[name]).max() / 127 / 2 * 1.01, name


def test_the_bundled_model_has_a_name():
    assert model_path("bundled") == BUNDLED
    assert model_path("other.bin").name == "other.bin"


def sentence(path):
    with pytest.raises(UserError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 250
    return text


def test_a_missing_file_is_named(tmp_path):
    assert sentence(tmp_path / "no.bin") == f"the model file {tmp_path / 'no.bin'} does not exist"
    assert "cannot be read" in sentence(tmp_path)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_file_of_the_wrong_length_is_refused(tmp_path, version):
    path = save(random_model(**SMALL), tmp_path / "model.bin", version)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    assert f"has {len(raw) - 1} bytes" in sentence(path) and "cut short" in sentence(path)
    path.write_bytes(raw + b"\0")
    assert f"more than the {len(raw)}" in sentence(path)
    path.write_bytes(raw[:20])
    assert "has only 20 bytes" in sentence(path)


def test_a_short_header_of_version_1_is_refused(tmp_path):
    path = save(random_model(**SMALL), tmp_path / "model.bin", 1)
    path.write_bytes(path.read_bytes()[:100])
    assert "ends inside its header" in sentence(path)


def test_other_versions_are_refused(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<Ii", 0x616B3432, 7).ljust(256, b"\0"))
    assert "is of version 7" in sentence(path)


@pytest.mark.parametrize("sizes, wrong", [
    ((0, 96, 2, 4, 2, 40, 8), "dim = 0"),
    ((64, -1, 2, 4, 2, 40, 8), "hidden = -1"),
    ((64, 96, 2**30, 4, 2, 40, 8), "n_layers = 1073741824"),
    ((64, 96, 2, 4, 2, -2**31, 8), "vocabulary = 2147483648"),
    ((64, 96, 2, 5, 5, 40, 8), "does not split into 5 heads"),
    ((64, 96, 2, 4, 3, 40, 8), "3 KV heads"),
    ((131072, 2**19, 4096, 4, 2, 2**22, 8), "bytes, but a model of the sizes"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_absurd_sizes_are_refused_before_anything_is_read(tmp_path, sizes, wrong):
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<7i", *sizes) + bytes(1000))
    assert wrong in sentence(path)


def test_text_is_not_a_model(tmp_path):
    path = tmp_path / "model.bin"
    path.write_text("Once upon a time there was a text file that was not a model.")
    assert "is not a llama2.c model" in sentence(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(tmp_path, value):
    model = random_model(**SMALL)
    model.layers[1].w2[3, 5] = value
    assert "the tensor w2 holds values that are not" in sentence(save(model, tmp_path / "m.bin"))


def test_groups_must_divide_the_matrices(tmp_path):
    path = save(random_model(**SMALL), tmp_path / "model.bin", 2)
    raw = bytearray(path.read_bytes())
    raw[37:41] = struct.pack("<i", 7)
    path.write_bytes(raw)
    assert "groups of 7 weights" in sentence(path)
