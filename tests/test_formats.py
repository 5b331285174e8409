"""Number formats against libraries that others wrote: all codes, and the rounding."""

import ml_dtypes
import numpy as np
import pytest
from gfloat import compute_scale_amax, decode_float, quantize_block
from gfloat.formats import (
    format_info_mxfp4_e2m1,
    format_info_mxfp8_e4m3,
    format_info_ocp_e2m1,
    format_info_ocp_e4m3,
)

from hw.formats import ELEMENTS, FORMATS, NAN, Float, named
from sw.quantise import dequantise_weights, quantise_weights


#: The same formats elsewhere.
ML_DTYPES = {"e2m1": ml_dtypes.float4_e2m1fn, "e4m3": ml_dtypes.float8_e4m3fn}
GFLOAT = {"e2m1": format_info_ocp_e2m1, "e4m3": format_info_ocp_e4m3}
BLOCKS = {"mxfp4": format_info_mxfp4_e2m1, "mxfp8": format_info_mxfp8_e4m3}

FLOATS = [name for name, element in ELEMENTS.items() if isinstance(element, Float)]


@pytest.mark.parametrize("name", FLOATS)
def test_every_code_is_decoded_as_elsewhere(name):
    element, codes = ELEMENTS[name], np.arange(2**ELEMENTS[name].bits)
    integers = element.decode(codes)
    values = np.where(integers == NAN, np.nan, integers * 2.0**element.lsb)
    other = codes.astype(np.uint8).view(ML_DTYPES[name]).astype(float)
    assert np.array_equal(values, other, equal_nan=True)
    other = [decode_float(GFLOAT[name], int(code)).fval for code in codes]
    assert np.array_equal(values, other, equal_nan=True)


@pytest.mark.parametrize("name", ELEMENTS)
def test_what_is_encoded_is_decoded(name):
    element = ELEMENTS[name]
    codes = element.encode(element.integers)
    assert codes.dtype == np.uint8 and np.array_equal(element.decode(codes), element.integers)
    assert element.encode(0) == 0
    with pytest.raises(ValueError, match=f"{element.largest + 1} is none"):
        element.encode([0, element.largest + 1])


@pytest.mark.parametrize("name", FLOATS)
def test_rounding_is_to_nearest_even_and_saturates(name):
    element = ELEMENTS[name]
    values = element.numbers.astype(float) * 2.0**element.lsb
    ties = (values[1:] + values[:-1]) / 2
    rng = np.random.default_rng(0)
    x = np.concatenate([values, ties, np.nextafter(ties, 1e9), np.nextafter(ties, -1e9),
                        rng.normal(size=300_000) * 2, rng.normal(size=100_000) * 2.0**-6,
                        [1e30, -1e30]]).astype(np.float32)
    found = element.round(x.astype(float) * 2.0**-element.lsb) * 2.0**element.lsb
    # ml_dtypes makes NaN of what is too large for a format that has it; here it is saturated.
    x = np.clip(x, -values[-1], values[-1])
    assert np.array_equal(found, x.astype(ML_DTYPES[name]).astype(float))


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_the_standard(name):
    """The FLOOR rule of OCP MX 1.0."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(60, 32)) * np.exp2(rng.integers(-20, 20, (60, 1)))).astype(np.float32)
    x[5] = 0
    q, scales, factor = quantise_weights(x, name)
    found = dequantise_weights(q, scales, name, factor)
    wanted = [quantize_block(BLOCKS[name], row.astype(float), compute_scale_amax) for row in x]
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("name", FORMATS)
def test_weights_keep_their_magnitude(name):
    format, rng = named(name), np.random.default_rng(2)
    w = rng.normal(size=(40, 100)).astype(np.float32)
    q, scales, factor = quantise_weights(w, name)
    assert scales.dtype == format.scale.dtype and scales.shape == (40, format.scales(100))
    error = dequantise_weights(q, scales, name, factor)[:, :100] - w
    assert error.std() < (0.15 if format.four else 0.04)

