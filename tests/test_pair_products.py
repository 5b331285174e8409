"""Products of every weight with every activation: integers against the numbers that others decode.

The array multiplies integers and knows the power of two beside them; so its block sums are exact if
each product of two integers, times that power, is the product of the numbers.
"""

import ml_dtypes
import numpy as np
import pytest
from gfloat import decode_float
from gfloat.formats import (
    format_info_ocp_e2m1,
    format_info_ocp_e2m3,
    format_info_ocp_e3m2,
    format_info_ocp_e4m3,
    format_info_ocp_e5m2,
    format_info_ocp_int8,
)

from hw.config import Config
from hw.formats import (
    ACTIVATIONS,
    BLOCK,
    ELEMENTS,
    FORMATS,
    KV,
    NAN,
    PROBABILITIES,
    expanded,
    supported,
)
from hw.matmul.widths import plain_bits


#: The same elements elsewhere: a type of numpy or ml_dtypes, and the unit of integers.
TYPES = {"int4": (ml_dtypes.int4, 1), "int8": (np.int8, 1), "mxint8": (np.int8, 1 / 64),
         "e2m1": (ml_dtypes.float4_e2m1fn, 1), "e4m3": (ml_dtypes.float8_e4m3fn, 1),
         "e2m3": (ml_dtypes.float6_e2m3fn, 1), "e3m2": (ml_dtypes.float6_e3m2fn, 1),
         "e5m2": (ml_dtypes.float8_e5m2, 1), "int16": (np.int16, 1)}

GFLOAT = {"mxint8": format_info_ocp_int8, "e2m1": format_info_ocp_e2m1,
          "e4m3": format_info_ocp_e4m3, "e2m3": format_info_ocp_e2m3,
          "e3m2": format_info_ocp_e3m2, "e5m2": format_info_ocp_e5m2}

#: Pairs of the array: weights with activations, and keys and values with what they meet.
PAIRS = sorted({(format.element.name, element.name) for format in FORMATS.values()
                for name, element in ACTIVATIONS.items() if supported(format, name)}
               | {(expanded(kv).name, element.name) for kv in KV
                  for element in (PROBABILITIES, *ACTIVATIONS.values())})


def decoded(name):
    """Numbers of all codes as float64; what is not finite is NaN."""
    element, (dtype, unit) = ELEMENTS[name], TYPES[name]
    codes = np.arange(2**element.bits)
    if dtype is ml_dtypes.int4:
        codes = codes - (codes >> 3 << 4)
        return codes.astype(dtype).astype(float)
    values = codes.astype(element.dtype).view(dtype).astype(float) * unit
    return np.where(np.isfinite(values), values, np.nan)


def test_every_element_is_compared():
    assert set(TYPES) == set(ELEMENTS)
    assert {name for pair in PAIRS for name in pair} == set(ELEMENTS)


@pytest.mark.parametrize("name", GFLOAT)
def test_both_libraries_decode_alike(name):
    values = [decode_float(GFLOAT[name], code).fval for code in range(2**ELEMENTS[name].bits)]
    values = np.where(np.isfinite(values), values, np.nan)
    assert np.array_equal(values, decoded(name), equal_nan=True)


@pytest.mark.parametrize("weight, activation", PAIRS)
def test_products_of_all_codes_are_exact(weight, activation):
    w, a = ELEMENTS[weight], ELEMENTS[activation]
    numbers, lsb = decoded(activation), w.lsb + a.lsb
    for first in range(0, 2**w.bits, 4096):
        codes = np.arange(2**w.bits)[first:first + 4096]
        left, right = w.decode(codes), a.decode(np.arange(2**a.bits))
        wanted = np.multiply.outer(decoded(weight)[codes], numbers)
        odd = np.logical_or.outer(left == NAN, right == NAN)
        assert np.array_equal(odd, np.isnan(wanted))
        found = np.multiply.outer(left.astype(np.int64), right.astype(np.int64))
        # Both sides are exact in float64: products of at most 16 and 8 bits of significand.
        assert np.array_equal(np.ldexp(found[~odd].astype(float), lsb), wanted[~odd])


@pytest.mark.parametrize("format, activation", [
    (format, name) for format in FORMATS.values() for name in ACTIVATIONS
    if supported(format, name)], ids=lambda value: getattr(value, "name", value))
def test_sums_of_32_extreme_products_fit_a_machine_of_one_format(format, activation):
    config = Config(name="test", formats=(format.name,), activations=(activation,))
    ends = [element.numbers[[0, -1]].tolist() for element in
            (format.element, ACTIVATIONS[activation])]
    sums = [BLOCK * w * a for w in ends[0] for a in ends[1]]
    room = 1 << plain_bits(config) - 1
    assert -room <= min(sums) and max(sums) < room
