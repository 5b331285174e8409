"""Blocks with scales against torchao: MX with both rules, activations, and NVFP4.

Left out, because torchao does not follow the standard: blocks whose code would be 0 (it divides by
2^-126), infinities (its code is a number), and largest magnitudes within a few bits of where RCEIL
changes its code (it takes a logarithm in float32).
"""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torchao.prototype.mx_formats.mx_tensor import ScaleCalculationMode, to_mx
from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale

from hw.formats import KV, named
from sw.quantise import dequantise_weights, find_scales, quantise_weights, round_to
from verif.reference.quantise import quantise


MX = {"mxfp4": torch.float4_e2m1fn_x2, "mxfp8": torch.float8_e4m3fn,
      "mxfp8e5m2": torch.float8_e5m2, "mxfp6": "fp6_e2m3", "mxfp6e3m2": "fp6_e3m2"}
RULES = {"floor": ScaleCalculationMode.FLOOR, "up": ScaleCalculationMode.RCEIL}


def weights(rows=4096, size=512, seed=1):
    """Rows of many magnitudes, some of which have few bits, so that there are ties."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((rows, size)) * np.exp(rng.uniform(-20, 20, (rows, 1)))
    w = w.astype(np.float32)
    w[::2] = (w[::2].view(np.uint32) & 0xFFFC0000).view(np.float32)
    w[5], w[6, :64] = 0, 0
    return w


def theirs(w, element, rule):
    """``(codes of scales, codes of elements)`` of torchao."""
    scales, data = to_mx(torch.from_numpy(w), element, 32, RULES[rule])
    return scales.view(torch.uint8).numpy(), unpacked(data.view(torch.uint8).numpy(), w.shape)


def unpacked(data, shape):
    """Codes, of which 4-bit ones are two in a byte, the first in the low half."""
    if data.size < np.prod(shape):
        data = np.stack([data & 15, data >> 4], axis=-1)
    return data.reshape(shape)


def without_sign_of_zero(codes, element):
    return np.where(codes == 1 << element.bits - 1, 0, codes)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", MX)
def test_mx_weights_are_those_of_torchao(name, rule):
    w, element = weights(), named(name).element
    q, scales, factor = quantise_weights(w, name, rule)
    wanted_scales, wanted = theirs(w, MX[name], rule)
    assert factor is None and np.array_equal(scales, wanted_scales)
    assert np.array_equal(element.encode(q), without_sign_of_zero(wanted, element))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["mxfp8", "mxfp8e5m2"])
def test_activations_are_those_of_torchao(name, rule):
    x, element = weights(seed=2), named(name).element
    q, codes = quantise(x, element=element.name, rule=rule)
    wanted_codes, wanted = theirs(x, MX[name], rule)
    assert np.array_equal(codes, wanted_codes)
    assert np.array_equal(element.encode(q), without_sign_of_zero(wanted, element))


@pytest.mark.parametrize("element", KV.values(), ids=lambda element: element.name)
def test_rounding_up_is_the_least_that_clips_nothing(element):
    """Where a logarithm is not exact enough: around the largest element times a power of two."""
    name = next(name for name, other in KV.items() if other is element)
    largest = Fraction(element.largest) * Fraction(2)**element.lsb
    for exponent in (-100, -3, 0, 7, 100):
        middle = np.float32(float(largest * Fraction(2)**exponent))
        for away in range(-3, 4):
            x = np.zeros(32, np.float32)
            x[3] = np.uint32(int(middle.view(np.uint32)) + away).view(np.float32)
            _, codes = quantise(x, element=name, rule="up")
            unit = Fraction(2)**(int(codes[0]) - 127)
            assert largest * unit / 2 < Fraction(float(x[3])) <= largest * unit


@pytest.mark.parametrize("kind", ["few bits", "normal"])
def test_nvfp4_weights_are_those_of_torchao(kind):
    rng = np.random.default_rng(3)
    w = rng.standard_normal((4096, 512)).astype(np.float32) * np.float32(0.05)
    w *= np.exp(rng.uniform(-6, 0, (4096, 1))).astype(np.float32)
    w[7, :32] = 0
    if kind == "few bits":
        w = (w.view(np.uint32) & 0xFFFF0000).view(np.float32)
    q, scales, factor = quantise_weights(w, "nvfp4")
    tensor = torch.from_numpy(w)
    wanted_factor = per_tensor_amax_to_scale(tensor.abs().max())
    wanted_scales, wanted = nvfp4_quantize(tensor, 16, wanted_factor)
    assert factor.tobytes() == wanted_factor.numpy().tobytes()
    assert np.array_equal(scales, wanted_scales.view(torch.uint8).numpy())
    element = named("nvfp4").element
    wanted = without_sign_of_zero(unpacked(wanted.numpy(), w.shape), element)
    assert np.array_equal(element.encode(q), wanted)


def test_nvfp4_of_extremes_is_finite():
    for value in (0, 1e-38, 1e-30, 3e38):
        w = np.zeros((2, 32), np.float32)
        w[0, 3] = value
        q, scales, factor = quantise_weights(w, "nvfp4")
        assert (factor == 1) == (value == 0) and np.count_nonzero(q) <= 1
        found = dequantise_weights(q, scales, "nvfp4", factor)
        assert abs(found[0, 3] - w[0, 3]) <= value / 8 + 1e-37
        again, _ = find_scales(w, "nvfp4")
        assert np.array_equal(again, scales)
        assert np.array_equal(round_to(w[:, 3:5], scales, factor, "nvfp4", first=3), q[:, 3:5])
