"""Elements against libraries that others wrote: all codes, the rounding, and GGUF's blocks."""

import ml_dtypes
import numpy as np
import pytest
from gfloat import RoundMode, compute_scale_amax, decode_float, quantize_block, round_ndarray
from gfloat import formats as gfloat
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from hw.formats import ELEMENTS, FORMATS, NAN, Float, Integer, named, supported
from sw.quantise import dequantise_weights, quantise_weights
from verif.formats import random_elements


#: The same formats elsewhere.
ML_DTYPES = {"e2m1": ml_dtypes.float4_e2m1fn, "e4m3": ml_dtypes.float8_e4m3fn,
             "e2m3": ml_dtypes.float6_e2m3fn, "e3m2": ml_dtypes.float6_e3m2fn,
             "e5m2": ml_dtypes.float8_e5m2}
GFLOAT = {name: getattr(gfloat, f"format_info_ocp_{name}") for name in ML_DTYPES}
BLOCKS = {"mxfp4": gfloat.format_info_mxfp4_e2m1, "mxfp8": gfloat.format_info_mxfp8_e4m3,
          "mxfp6": gfloat.format_info_mxfp6_e2m3, "mxfp6e3m2": gfloat.format_info_mxfp6_e3m2,
          "mxfp8e5m2": gfloat.format_info_mxfp8_e5m2, "mxint8": gfloat.format_info_mxint8}

FLOATS = [name for name, element in ELEMENTS.items() if isinstance(element, Float)]
INTEGERS = [name for name, element in ELEMENTS.items() if isinstance(element, Integer)]

#: Largest root mean square error of weights that are normal, with one scale for at most 128.
ERRORS = {"int8": 0.008, "int4": 0.11, "mxint8": 0.012, "mxfp4": 0.125, "mxfp8": 0.032,
          "fp8": 0.03, "nvfp4": 0.1, "mxfp6": 0.032, "mxfp6e3m2": 0.06, "mxfp8e5m2": 0.06,
          "int4g128": 0.13, "int8row": 0.011, "int16": 1e-4}


@pytest.mark.parametrize("name", FLOATS)
def test_every_code_is_decoded_as_elsewhere(name):
    element, codes = ELEMENTS[name], np.arange(2**ELEMENTS[name].bits)
    integers = element.decode(codes)
    values = np.where(integers == NAN, np.nan, integers * 2.0**element.lsb)
    for other in (codes.astype(np.uint8).view(ML_DTYPES[name]).astype(float),
                  np.array([decode_float(GFLOAT[name], int(code)).fval for code in codes])):
        # Infinities are no numbers here.
        other[np.isinf(other)] = np.nan
        assert np.array_equal(values, other, equal_nan=True)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_in_two_s_complement(name):
    element = ELEMENTS[name]
    low = -2**(element.bits - 1)
    wanted = [*range(-low), *range(low, 0)]
    assert element.integers.tolist() == wanted and element.largest == -low - 1


@pytest.mark.parametrize("name", ELEMENTS)
def test_what_is_encoded_is_decoded(name):
    element = ELEMENTS[name]
    codes = element.encode(element.integers)
    assert codes.dtype == element.dtype
    assert np.array_equal(element.decode(codes), element.integers)
    assert element.encode(0) == 0
    with pytest.raises(ValueError, match=f"{element.largest + 1} is none"):
        element.encode([0, element.largest + 1])


def numbers(element, count):
    """Float32 numbers to round: all elements, ties, their neighbours, and random ones."""
    values = element.numbers.astype(float) * 2.0**element.lsb
    ties = ((values[1:] + values[:-1]) / 2).astype(np.float32)
    rng, top = np.random.default_rng(0), values[-1]
    smallest = 2.0**element.lsb
    return np.concatenate([
        values, ties, np.nextafter(ties, np.float32(1e9)), np.nextafter(ties, np.float32(-1e9)),
        rng.normal(size=count // 4) * top / 2, rng.normal(size=count // 4) * smallest * 4,
        # All magnitudes alike.
        np.exp2(rng.uniform(np.log2(smallest) - 3, np.log2(top) + 2, count // 2))
        * rng.choice([-1, 1], count // 2), [1e30, -1e30, 0.0]]).astype(np.float32)


@pytest.mark.parametrize("name", FLOATS)
def test_rounding_is_to_nearest_even_and_saturates(name):
    element = ELEMENTS[name]
    x = numbers(element, 1_200_000)
    found = element.round(x.astype(float) * 2.0**-element.lsb)
    # Elsewhere what is too large is a NaN in formats that have it; here it is saturated.
    top = element.largest * 2.0**element.lsb
    other = np.clip(x, -top, top).astype(ML_DTYPES[name])
    assert np.array_equal(found * 2.0**element.lsb, other.astype(float))
    # All bits but the sign of zeros.
    codes = other.view(np.uint8)
    assert np.array_equal(element.encode(found), np.where(other.astype(float) == 0, 0, codes))
    assert element.encode(found).max() < 2**element.bits


@pytest.mark.parametrize("name", FLOATS)
def test_float64_is_rounded_once(name):
    """A tie, and what is away from it by less than float32 can say; gfloat does so too."""
    element = ELEMENTS[name]
    values = element.numbers.astype(float) * 2.0**element.lsb
    ties = (values[1:] + values[:-1]) / 2
    x = np.concatenate([numbers(element, 100_000), ties, ties * (1 + 2.0**-40),
                        ties * (1 - 2.0**-40)])
    wanted = round_ndarray(GFLOAT[name], x, RoundMode.TiesToEven, sat=True)
    found = element.round(x * 2.0**-element.lsb) * 2.0**element.lsb
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_rounded_to_even_and_saturate(name):
    element = ELEMENTS[name]
    low = int(element.numbers[0]) if element.full else -element.largest
    for n in (low, -2, -1, 0, 1, 2, element.largest):
        for x, wanted in ((n, n), (n + 0.5, n + n % 2), (n - 0.5, n - n % 2), (n + 0.499, n)):
            assert element.round(np.float64(x)) == np.clip(wanted, low, element.largest)
    assert element.round(np.float64([1e30, -1e30])).tolist() == [element.largest, low]


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_the_standard(name):
    """The FLOOR rule of OCP MX 1.0."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(60, 32)) * np.exp2(rng.integers(-20, 20, (60, 1)))).astype(np.float32)
    x[5] = 0
    q, scales, factor = quantise_weights(x, name)
    found = dequantise_weights(q, scales, name, factor)
    wanted = np.array([quantize_block(BLOCKS[name], row.astype(float), compute_scale_amax)
                       for row in x])
    if name == "mxint8":
        # Here -128 is not used.
        wanted = np.where(wanted == -2 * np.exp2(scales.astype(float) - 127),
                          wanted * 127 / 128, wanted)
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("name", FORMATS)
def test_weights_keep_their_magnitude(name):
    format, rng = named(name), np.random.default_rng(2)
    w = rng.normal(size=(40, 1000)).astype(np.float32)
    q, scales, factor = quantise_weights(w, name)
    assert scales.dtype == format.scale.dtype and scales.shape == (40, format.scales(1000))
    error = dequantise_weights(q, scales, name, factor)[:, :1000] - w
    assert error.std() < ERRORS[name]


def nibbles(codes):
    """Bytes of GGUF: the first half of the last axis is in the low nibbles."""
    half = codes.shape[-1] // 2
    return codes[..., :half] | codes[..., half:] << 4


def gguf_bytes(name, weights, scales):
    """Blocks of a matrix as GGUF has them."""
    rows, codes = len(weights), named(name).element.encode(weights)
    if name == "nvfp4":
        data = nibbles(codes.reshape(rows, -1, 4, 16)).reshape(rows, -1, 32)
        parts = scales.reshape(rows, -1, 4), data
    elif name == "int8":
        parts = scales[..., None].view(np.uint8), codes.reshape(rows, -1, 32)
    else:
        # INT4 is stored with 8 added.
        codes = (codes ^ 8 if name == "int4" else codes).reshape(rows, -1, 32)
        parts = scales[..., None].view(np.uint8), nibbles(codes)
    return np.concatenate(parts, axis=2).reshape(rows, -1)


@pytest.mark.parametrize("name, theirs", [
    ("int8", "Q8_0"), ("int4", "Q4_0"), ("mxfp4", "MXFP4"), ("nvfp4", "NVFP4")])
def test_blocks_of_gguf_mean_the_same(name, theirs):
    """Where gguf does not follow the standards, scales are left out: an E8M0 code of 255 and an
    E4M3 code of 0x7F are numbers there. Its quantisers round ties otherwise than to even.
    """
    format, rng = named(name), np.random.default_rng(3)
    weights = random_elements(rng, format.element, (500, 2048))
    scales = rng.integers(0, 0x7F if name == "nvfp4" else 250, (500, format.scales(2048)), np.uint8)
    if format.scale.name == "FP16":
        scales = rng.normal(size=scales.shape).astype(np.float16)
    found = dequantize(gguf_bytes(name, weights, scales), GGMLQuantizationType[theirs])
    assert np.array_equal(found, dequantise_weights(weights, scales, name))


def test_only_the_widest_product_is_not_supported():
    assert [(name, activation) for name, format in FORMATS.items()
            for activation in ("int8", "e4m3") if not supported(format, activation)] == [
                ("int16", "e4m3")]
