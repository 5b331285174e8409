"""A million blocks of each pair of a format and activations, with codes decoded by other libraries.

Codes of elements and scales are decoded by ml_dtypes or by types of numpy. Sums of 32 products, and
their products with scales, are exact in the 64 bits of the host's long double, which is rounded to
FP32 once.
"""

import ml_dtypes
import numpy as np
import pytest

from hw.formats import ACTIVATIONS, BLOCK, FORMATS, ScaleKind, supported
from tests.test_pair_products import decoded
from verif.formats import random_activations, random_elements, random_scales
from verif.reference.floats import NAN, bits
from verif.reference.matmul import block_terms


ROWS, BLOCKS, VECTORS = 512, 32, 64

#: The same scales elsewhere; those of E4M3 count without sign.
SCALES = {ScaleKind.FP16: np.float16, ScaleKind.BF16: ml_dtypes.bfloat16,
          ScaleKind.E8M0: ml_dtypes.float8_e8m0fnu, ScaleKind.E4M3: ml_dtypes.float8_e4m3fn}

PAIRS = [(name, activation) for name in FORMATS for activation in ACTIVATIONS
         if supported(FORMATS[name], activation)]


def numbers(element, integers):
    """What other libraries decode from the codes of integers, as long doubles."""
    return decoded(element.name)[element.encode(integers)].astype(np.longdouble)


def each_block(scales, format):
    """What other libraries decode from scales, as long doubles ``[rows, blocks, parts]``."""
    with np.errstate(invalid="ignore"):
        scales = scales.view(SCALES[format.scale]).astype(np.longdouble)
    scales = np.where(np.isfinite(scales), scales, np.nan)
    if format.scale == ScaleKind.E4M3:
        scales = np.abs(scales)
    group = format.group or BLOCK * BLOCKS
    if group <= BLOCK:
        return scales.reshape(len(scales), BLOCKS, -1)
    return np.repeat(scales, group // BLOCK, axis=1)[:, :BLOCKS, None]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="the host has no longer floats")
@pytest.mark.parametrize("name, activation", PAIRS)
def test_a_million_blocks_are_rounded_once(name, activation):
    format, multiplicand = FORMATS[name], ACTIVATIONS[activation]
    rng = np.random.default_rng(11)
    size = BLOCK * BLOCKS
    weights = random_elements(rng, format.element, (ROWS, size))
    scales = random_scales(rng, format.scale, (ROWS, format.scales(size)))
    act = random_activations(rng, multiplicand, (size, VECTORS))
    # Some terms are subnormal, and some too large.
    codes = rng.choice([0, 1, 100, 120, 127, 133, 254, 255], (BLOCKS, VECTORS))
    found = block_terms(weights, scales, act, codes, format, multiplicand)
    assert found.size >= 1_000_000

    scale = each_block(scales, format)
    parts = scale.shape[2]
    w = numbers(format.element, weights).reshape(ROWS, BLOCKS, parts, BLOCK // parts)
    a = numbers(multiplicand, act).reshape(BLOCKS, parts, BLOCK // parts, VECTORS)
    power = np.where(codes == 255, np.nan, np.exp2(codes.astype(np.longdouble) - 127))
    with np.errstate(all="ignore"):
        for block in range(BLOCKS):
            exact = sum((w[:, block, p] @ a[block, p]) * scale[:, block, p, None]
                        for p in range(parts)) * power[block]
            wanted = np.where(np.abs(exact) < 2.0**-126, 0, exact).astype(np.float32)
            wanted = np.where(np.isnan(wanted), np.uint32(NAN), bits(wanted + 0))
            assert np.array_equal(bits(found[block]), wanted)
