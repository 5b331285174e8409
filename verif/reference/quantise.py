"""Quantisation of activations, keys and values to blocks with a power-of-two scale."""

import numpy as np

from hw.formats import KV
from hw.isa import SIGNS
from verif.reference.floats import bits, flush


__all__ = ["RULES", "quantise", "power_codes"]


#: Elements of a block, which has one code.
BLOCK = 32

#: How a code is found: OCP MX 1.0, section 6.3, or so that nothing is clipped.
RULES = ("floor", "up")


def power_codes(largest, element, rule):
    """E8M0 codes of groups whose largest magnitudes are float32 ``largest``, as int64.

    ``floor``: the power of two of the magnitude over that of the largest element. ``up``: twice
    that if otherwise the largest magnitude would lie above the largest element. 0 for zeros, 255
    for infinities and NaN, else clamped to 0..254.
    """
    if rule not in RULES:
        raise ValueError(f"the scale rule must be one of {', '.join(RULES)}, not {rule!r}")
    largest = np.abs(np.asarray(largest, np.float32))
    significand, exponent = np.frexp(largest)
    top = np.frexp(float(element.largest))[0]
    above = significand > top if rule == "up" else 0
    codes = np.clip(exponent - 1 - element.exponent + above + 127, 0, 254)
    return np.where(np.isfinite(largest), np.where(largest == 0, 0, codes), 255).astype(np.int64)


def quantise(x, group=1, element="int8", rule="floor", sign="all"):
    """Float32 ``x`` as ``(integers of elements, uint8 codes of blocks)``.

    Reference for :class:`hw.vector.quantiser.Quantiser`. The last axis is whole blocks of 32. All
    blocks of a group have the code of the group's largest magnitude, see :func:`power_codes`; with
    an infinity or a NaN all elements of the group are 0. A value is
    ``integer * 2^(code - 127 + lsb)``, rounded to nearest even and saturated. The last group may
    have fewer blocks.

    Parameters
    ----------
    x : float32 [..., n]
        Subnormals are zeros.
    group : int
        Blocks that share a code.
    element : str
        A name of :data:`hw.formats.KV`.
    rule : str
        A name of :data:`RULES`.
    sign : str
        A name of :data:`hw.isa.SIGNS`: elements of the other sign become 0. Codes do not depend on
        it.
    """
    if sign not in SIGNS:
        raise ValueError(f"sign must be one of {', '.join(SIGNS)}, not {sign!r}")
    x, element = flush(x), KV[element]
    if x.shape[-1] % BLOCK:
        raise ValueError(f"a vector must be whole blocks of {BLOCK}, not {x.shape[-1]} elements")
    # The order of the bits is that of the magnitudes, with NaN above all.
    magnitudes = bits(x) & np.uint32(0x7FFFFFFF)
    blocks = magnitudes.reshape(*x.shape[:-1], -1, BLOCK).max(axis=-1)
    starts = np.arange(0, blocks.shape[-1], group)
    largest = np.maximum.reduceat(blocks, starts, axis=-1).view(np.float32)
    codes = power_codes(largest, element, rule)
    codes = np.repeat(codes, group, axis=-1)[..., :blocks.shape[-1]]

    values = x.reshape(*codes.shape, BLOCK).astype(np.float64)
    values[codes == 255] = 0
    # Exact in float64, whatever the exponents.
    values *= np.ldexp(1.0, 127 - element.lsb - codes)[..., None]
    q = element.round(values).reshape(x.shape)
    if sign != "all":
        q = np.where((q > 0) == (sign == "positive"), q, 0).astype(q.dtype)
    return q, codes.astype(np.uint8)
