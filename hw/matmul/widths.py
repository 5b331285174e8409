"""Bits that exact sums of a configuration's formats need.

Every product of the array is an integer, and a sum of 32 of them never overflows what is computed
here from the largest elements.
"""

from hw.formats import ACTIVATIONS, BLOCK, FORMATS, PROBABILITIES, ScaleKind, keys, supported


__all__ = ["FACTOR_BITS", "FACTORS", "half_bits", "pairs", "peak", "high_bits", "low_bits",
           "plain_bits", "product_bits", "scaled_bits", "term_bits"]


#: Bits of the significand of an FP16 scale, with its sign; those of BF16 are fewer.
FACTOR_BITS = 12

#: Kinds of scales that are no powers of two.
FACTORS = (ScaleKind.FP16, ScaleKind.BF16)

#: Largest E4M3 number: a scale of half a block.
HALF_SCALE = 15 << 14


def pairs(config):
    """Every (format, multiplicand) whose products the array makes."""
    found = [(FORMATS[name], activation) for name in config.formats
             for activation in config.activations if supported(FORMATS[name], activation)]
    found += [(keys(name), activation) for name in config.kv for activation in config.activations]
    return [(format, ACTIVATIONS[activation]) for format, activation in found] + [
        (keys(name), PROBABILITIES) for name in config.kv]


def peak(element):
    """Largest magnitude of an integer, used by quantisers or not."""
    return max(element.largest, -int(element.numbers[0]))


def parts(element, split):
    """Largest magnitudes of what the low and the high half of a multiplier get of an element."""
    if element.shifts or not split:
        return (255 if element.bits == 16 else peak(element)), 0
    if element.bits == 4:
        return peak(element), peak(element)
    # 16 * high + low; the lower byte of 16 bits has no sign.
    return 15, 15 if element.bits == 16 else -(int(element.numbers[0]) >> 4)


def signed_bits(magnitude):
    return 1 + int(magnitude).bit_length()


def product_bits(config):
    """``(low, high)``: bits of one product, shifted."""
    return tuple(signed_bits(max(parts(format.element, config.split)[half] * peak(multiplicand)
                                 for format, multiplicand in pairs(config))) for half in (0, 1))


def part_sum(config, half):
    """Bits of the sum of 32 products of one half. The upper byte of 16 bits counts 256 times."""
    return signed_bits(max(
        BLOCK * parts(format.element, config.split)[half] * peak(multiplicand)
        * (257 if format.double else 1) for format, multiplicand in pairs(config)))


def low_bits(config):
    """Bits of the sum of low halves, or of whole elements."""
    return part_sum(config, 0)


def high_bits(config):
    """Bits of the sum of high halves."""
    return part_sum(config, 1)


def plain_bits(config):
    """Bits of a block sum."""
    return signed_bits(max(BLOCK * peak(format.element) * peak(multiplicand)
                           for format, multiplicand in pairs(config)))


def scaled_bits(config):
    """Bits of a block sum that is multiplied by a factor; 0 if none is."""
    found = [signed_bits(BLOCK * peak(format.element) * peak(multiplicand))
             for format, multiplicand in pairs(config) if format.scale in FACTORS]
    return max(found, default=0)


def half_bits(config):
    """Bits of the sum of half a block that has a scale of its own; 1 if there is none."""
    found = [signed_bits(BLOCK // 2 * peak(format.element) * peak(multiplicand))
             for format, multiplicand in pairs(config) if format.scale == ScaleKind.E4M3]
    return max(found, default=1)


def term_bits(config):
    """Bits of the widest integer that becomes a term: scaled, of two scaled halves, or plain."""
    halves = [signed_bits(BLOCK * peak(format.element) * peak(multiplicand) * HALF_SCALE)
              for format, multiplicand in pairs(config) if format.scale == ScaleKind.E4M3]
    scaled = scaled_bits(config)
    return max([plain_bits(config), scaled + FACTOR_BITS if scaled else 0, *halves])
