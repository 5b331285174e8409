"""Payloads of any Amaranth shape as bits, and back, as plain Python values."""

from enum import Enum

import numpy as np
from amaranth.hdl import Const, Shape, ShapeCastable
from amaranth.lib import data


__all__ = ["plain", "packer", "pack", "unpacker", "unpack"]


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


def packer(shape):
    """Function from a value to its bits in the layout of ``shape``, a non-negative integer.

    Structures are dicts (missing fields are zero), arrays are sequences of full length, numpy's or
    not. The bits are those of ``shape.const(value)``, found much faster for wide payloads;
    integers that do not fit are refused.
    """
    if isinstance(shape, data.ArrayLayout):
        return array_packer(shape)
    if isinstance(shape, data.Layout):
        fields = {key: (packer(field.shape), field.offset) for key, field in shape}

        def pack_fields(value):
            bits = 0
            for key, item in value.items():
                pack_field, offset = fields[key]
                bits |= pack_field(item) << offset
            return bits
        return pack_fields
    if isinstance(shape, ShapeCastable) and not is_enum(shape):
        width = Shape.cast(shape).width
        return lambda value: Const.cast(shape.const(value)).value & mask(width)
    return integer_packer(Shape.cast(shape))


def array_packer(shape):
    pack_element = packer(shape.elem_shape)
    width = Shape.cast(shape.elem_shape).width

    def pack_elements(value):
        if len(value) != shape.length:
            raise ValueError(f"{shape!r} takes {shape.length} elements, not {len(value)}")
        bits = 0
        for item in reversed(value):
            bits = bits << width | pack_element(item)
        return bits
    return pack_elements


def integer_packer(shape):
    low, high = 0, mask(shape.width)
    if shape.signed:
        low, high = -(1 << shape.width >> 1), mask(max(shape.width - 1, 0))

    def pack_integer(value):
        value = int(value.value if isinstance(value, Enum) else value)
        if not low <= value <= high:
            raise ValueError(f"{value} does not fit {shape!r}")
        return value & mask(shape.width)
    return pack_integer


def pack(shape, value):
    """Bits of one value; see :func:`packer`."""
    return packer(shape)(value)


def unpacker(shape):
    """Function from bits in the layout of ``shape`` to their value; undoes :func:`packer`.

    Gives dicts for structures, lists for arrays, and what ``shape.from_bits`` gives otherwise.
    """
    if isinstance(shape, data.ArrayLayout):
        unpack_element = unpacker(shape.elem_shape)
        width = Shape.cast(shape.elem_shape).width
        starts = range(0, width * shape.length, width) if width else [0] * shape.length
        return lambda bits: [unpack_element(bits >> start & mask(width)) for start in starts]
    if isinstance(shape, data.Layout):
        fields = [(key, unpacker(field.shape), field.offset, mask(field.width))
                  for key, field in shape]
        return lambda bits: {key: unpack_field(bits >> offset & ones)
                             for key, unpack_field, offset, ones in fields}
    if is_enum(shape):
        unpack_member = unpacker(Shape.cast(shape))
        return lambda bits: shape(unpack_member(bits))
    if isinstance(shape, ShapeCastable):
        return shape.from_bits
    shape = Shape.cast(shape)
    if shape.signed and shape.width:
        sign = 1 << (shape.width - 1)
        return lambda bits: (bits ^ sign) - sign
    return lambda bits: bits


def unpack(shape, bits):
    """Value of one word of bits; see :func:`unpacker`."""
    return unpacker(shape)(int(bits))


def mask(width):
    return (1 << width) - 1


def is_enum(shape):
    return isinstance(shape, type) and issubclass(shape, Enum)
