"""The reference of the matrix product, against float64 and against single cases."""

import numpy as np
import pytest

from hw.formats import VALUES
from verif.reference.floats import add
from verif.reference.matmul import matmul


def operands(rng, rows, size, vectors):
    weights = rng.integers(-128, 128, (rows, size))
    blocks = -(-size // 32)
    scales = (rng.normal(size=(rows, blocks)) * 2.0**-8).astype(np.float16)
    act = rng.integers(-127, 128, (*vectors, size))
    codes = rng.integers(118, 136, (*vectors, blocks))
    return weights, scales, act, codes


def exact(weights, scales, act, codes):
    """Terms of each block in float64, [..., N, blocks]: every one is exact."""
    pad = -weights.shape[1] % 32
    w = np.pad(weights, ((0, 0), (0, pad))).reshape(len(weights), -1, 32)
    a = np.pad(act, (*[(0, 0)] * (act.ndim - 1), (0, pad)))
    a = a.reshape(*act.shape[:-1], 1, -1, 32)
    lsb = np.ldexp(1.0, codes.astype(int) - 133)[..., None, :]
    return (w * a).sum(-1) * scales.astype(np.float64) * lsb


@pytest.mark.parametrize("size", [16, 32, 112, 416])
@pytest.mark.parametrize("vectors", [(), (3,), (2, 5)], ids=str)
def test_agrees_with_float64(size, vectors):
    rng = np.random.default_rng(size)
    arguments = operands(rng, 40, size, vectors)
    y, terms = matmul(*arguments), exact(*arguments)
    assert y.shape == (*vectors, 40) and y.dtype == np.float32
    # Each term and each sum is rounded once.
    bound = 2.0**-24 * np.abs(terms).sum(-1) * (terms.shape[-1] + 1)
    assert (np.abs(y - terms.sum(-1)) <= bound).all()


def test_one_block_is_rounded_once():
    arguments = operands(np.random.default_rng(1), 64, 32, (4,))
    assert np.array_equal(matmul(*arguments), exact(*arguments)[..., 0].astype(np.float32))


def test_blocks_are_added_in_ascending_order():
    weights = np.zeros((1, 96), int)
    weights[0, ::32] = 1
    act = np.zeros(96, int)
    act[::32] = 64, 64, -64
    # 1 + 2^60 - 2^60: the 1 is lost in the second block.
    codes, scales = np.array([127, 187, 187]), np.ones((1, 3), np.float16)
    assert matmul(weights, scales, act, codes) == 0
    assert matmul(weights[:, ::-1], scales, act[::-1], codes[::-1]) == 1


def test_scales_of_keys_are_powers_of_two():
    rng = np.random.default_rng(2)
    weights, _, act, codes = operands(rng, 8, 64, ())
    keys = rng.integers(100, 150, (8, 2)).astype(np.uint8)
    scales = np.ldexp(1.0, keys.astype(int) - 133)
    terms = exact(weights, scales, act, codes).astype(np.float32)
    assert np.array_equal(matmul(weights, keys, act, codes, "mxint8"),
                          add(terms[..., 0], terms[..., 1]))


def test_values_have_no_scale():
    weights, scales, act, codes = operands(np.random.default_rng(3), 8, 32, ())
    keys = np.full((8, 1), 127, np.uint8)
    assert np.array_equal(matmul(weights, scales, act, codes, VALUES),
                          matmul(weights, keys, act, codes, "mxint8"))


@pytest.mark.parametrize("place", ["scale", "infinite scale", "code"])
def test_nan_spreads(place):
    weights, scales, act, codes = operands(np.random.default_rng(4), 2, 64, ())
    if place == "code":
        codes[1] = 255
    else:
        scales[0, 1] = np.nan if place == "scale" else np.inf
    y = matmul(weights, scales, act, codes)
    assert y.view(np.uint32)[0] == 0x7FC00000
    assert np.isnan(y[1]) == (place == "code")


def test_old_sums_are_shifted():
    weights, scales, act, codes = operands(np.random.default_rng(5), 8, 32, (2,))
    old = np.linspace(1, 9, 16, dtype=np.float32).reshape(2, 8)
    shift = np.array([3, 200])
    wanted = add(np.stack([old[0] / 8, np.zeros(8)]), matmul(weights, scales, act, codes))
    assert np.array_equal(matmul(weights, scales, act, codes, old=old, shift=shift), wanted)


def test_many_rows_are_cut_into_parts(monkeypatch):
    arguments = operands(np.random.default_rng(6), 50, 64, (3,))
    whole = matmul(*arguments)
    monkeypatch.setattr("verif.reference.matmul.TERMS", 7 * 2 * 3)
    assert np.array_equal(matmul(*arguments), whole)


def test_wrong_operands():
    with pytest.raises(ValueError, match="rows of 32 elements need activations of 32 and 1 scales"):
        matmul(np.zeros((2, 32), int), np.ones((2, 1), np.float16), np.zeros(64), np.zeros(2))
    with pytest.raises(ValueError, match="format must be one of int8, .*, not 'fp9'"):
        matmul(np.zeros((2, 32), int), np.ones((2, 1), np.float16), np.zeros(32), np.zeros(1),
               "fp9")
