"""Sizes that follow from a head's blocks, and from how many elements a byte holds."""

from amaranth import *

from ..formats import KV


__all__ = ["by_head_blocks", "is_packed", "product", "sizes"]


def is_packed(number):
    """Whether the element of keys and values with this number is packed; a machine that has none
    never sees one. No constant, which Icarus would take for unknown in a process without inputs."""
    return Cat(number == n for n, element in enumerate(KV.values()) if element.packed).any()


def product(factor, number):
    """``factor * number`` of few bits: sums, as `*` would take a hard multiplier."""
    return sum(Mux(bit, number << n, 0) for n, bit in enumerate(factor))


def by_head_blocks(m, config, head_blocks, function, name):
    """Signal with the value of ``function`` for the number of blocks that ``head_blocks`` holds."""
    values = [function(blocks) for blocks in range(1, config.max_head_blocks + 1)]
    result = Signal(range(max(values) + 1), name=name)
    with m.Switch(head_blocks):
        for blocks, value in enumerate(values, 1):
            with m.Case(blocks):
                m.d.comb += result.eq(value)
    return result


def sizes(m, config, head, name, size):
    """``size(n, packed)`` for heads of ``n`` blocks; ``head`` has members ``head_blocks`` and
    ``packed``."""
    whole = by_head_blocks(m, config, head.head_blocks, lambda n: size(n, False), name)
    if not config.packs:
        return whole
    packed = by_head_blocks(m, config, head.head_blocks, lambda n: size(n, True), f"{name}_packed")
    return Mux(head.packed, packed, whole)
