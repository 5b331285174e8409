"""Rounding of weights: the rule of section 2 of interfaces.md, and its corner cases."""

import numpy as np
import pytest

from sw.quantise import dequantise_weights, quantise_weights


def weights(rows=20, k=96, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, k)) * np.exp2(rng.integers(-12, 4, (rows, 1)))).astype(
        np.float32)


@pytest.mark.parametrize("format", ["int8", "int4"])
def test_each_group_follows_the_rule(format):
    w = weights()
    q, scales, _ = quantise_weights(w, format)
    assert q.dtype == np.int8 and scales.dtype == np.float16 and scales.shape == (20, 3)
    for row in range(20):
        for group in range(3):
            x = w[row, 32 * group:32 * group + 32]
            if format == "int4":
                d = np.float16(max(x, key=abs) / np.float32(-8))
                wanted = np.clip(np.rint(x / np.float32(d)), -8, 7)
            else:
                d = np.float16(np.abs(x).max() / np.float32(127))
                wanted = np.clip(np.rint(x / np.float32(d)), -127, 127)
            assert scales[row, group] == d
            assert np.array_equal(q[row, 32 * group:32 * group + 32], wanted)


def test_the_largest_of_a_group_is_kept_best():
    x = np.zeros((1, 32), np.float32)
    x[0, 5], x[0, 7] = -3, 2.9
    q, scales, _ = quantise_weights(x, "int4")
    assert q[0, 5] == -8 and scales[0, 0] == 0.375 and q[0, 7] == 7
    x[0, 7] = 3      # of equal magnitudes the first decides
    assert quantise_weights(x, "int4")[0][0, 5] == -8
    assert quantise_weights(-x, "int4")[0][0, 5] == -8
    assert quantise_weights(x, "int8")[0][0, 5] == -127


def test_halves_go_to_the_even_neighbour():
    x = np.zeros((1, 32), np.float32)
    x[0, :4] = -8, 0.5, 1.5, 2.5
    assert quantise_weights(x, "int4")[0][0, :4].tolist() == [-8, 0, 2, 2]


def test_zeros_and_scales_that_vanish_give_zeros():
    for value in (0.0, 1e-12):
        q, scales, _ = quantise_weights(np.full((2, 32), value, np.float32), "int8")
        assert not q.any() and not scales.any()


def test_subnormal_scales_are_used():
    q, scales, _ = quantise_weights(np.full((1, 32), 8e-7, np.float32), "int4")
    # 1e-7 becomes twice the smallest half.
    assert scales[0, 0] == np.float16(-2**-23) and q[0, 0] == -7


def test_k_is_padded_with_zeros():
    w = weights(k=40)
    q, scales, _ = quantise_weights(w, "int8")
    assert q.shape == (20, 64) and scales.shape == (20, 2) and not q[:, 40:].any()
    assert np.abs(dequantise_weights(q, scales, "int8")[:, :40] - w).max() <= np.abs(w).max() / 250


def test_what_cannot_be_rounded_is_refused():
    with pytest.raises(ValueError, match="must be one of int8, int4, .*, not 'fp9'"):
        quantise_weights(weights(), "fp9")
    with pytest.raises(ValueError, match="a matrix, not an array of 1 dimensions"):
        quantise_weights(np.zeros(32), "int8")
    with pytest.raises(ValueError, match="a scale beyond FP16"):
        quantise_weights(np.full((1, 32), 1e9, np.float32), "int8")
