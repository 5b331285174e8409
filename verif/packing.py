"""Payloads of any Amaranth shape as bits, and back, as plain Python values."""

from enum import Enum

import numpy as np
from amaranth.hdl import Const, Shape, ShapeCastable
from amaranth.lib import data


__all__ = ["plain", "pack", "unpack"]


def plain(value):
    """``value`` without numpy: lists for arrays, ints for integers, inside dicts and lists too."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bool):
        return int(value)
    return value


def pack(shape, value):
    """Bits of ``value`` in the layout of ``shape``, as a non-negative integer.

    Structures are dicts (missing fields are zero), arrays are sequences of full length. Equal to
    ``Const.cast(shape.const(value)).value``, and much faster for wide payloads; unlike it, refuses
    integers that do not fit.
    """
    if isinstance(shape, data.ArrayLayout):
        if len(value) != shape.length:
            raise ValueError(f"{shape!r} takes {shape.length} elements, not {len(value)}")
        width = Shape.cast(shape.elem_shape).width
        return sum(pack(shape.elem_shape, item) << (n * width) for n, item in enumerate(value))
    if isinstance(shape, data.Layout):
        bits = 0
        for key, item in value.items():
            field = shape[key]
            bits |= pack(field.shape, item) << field.offset
        return bits
    if isinstance(shape, ShapeCastable) and not issubclass_of_enum(shape):
        constant = Const.cast(shape.const(value))
        return constant.value & mask(constant.width)
    shape = Shape.cast(shape)
    value = int(value.value if isinstance(value, Enum) else value)
    low, high = bounds(shape)
    if not low <= value <= high:
        raise ValueError(f"{value} does not fit {shape!r}")
    return value & mask(shape.width)


def unpack(shape, bits):
    """The value whose bits in the layout of ``shape`` are ``bits``; the inverse of :func:`pack`."""
    bits = int(bits)
    if isinstance(shape, data.ArrayLayout):
        width = Shape.cast(shape.elem_shape).width
        return [unpack(shape.elem_shape, bits >> (n * width) & mask(width))
                for n in range(shape.length)]
    if isinstance(shape, data.Layout):
        return {key: unpack(field.shape, bits >> field.offset & mask(field.width))
                for key, field in shape}
    if issubclass_of_enum(shape):
        return shape(unpack(Shape.cast(shape), bits))
    if isinstance(shape, ShapeCastable):
        return shape.from_bits(bits)
    shape = Shape.cast(shape)
    if shape.signed and shape.width and bits >> (shape.width - 1):
        return bits - (1 << shape.width)
    return bits


def mask(width):
    return (1 << width) - 1


def bounds(shape):
    if not shape.signed:
        return 0, mask(shape.width)
    return -(1 << shape.width >> 1), mask(max(shape.width - 1, 0))


def issubclass_of_enum(shape):
    return isinstance(shape, type) and issubclass(shape, Enum)
