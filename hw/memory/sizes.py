"""Sizes that follow from a head's blocks, and from how many elements a byte holds."""

from amaranth import *

from ..formats import KV


__all__ = ["is_packed", "sizes"]


def is_packed(number):
    """Whether the element of keys and values with this number is packed; a machine that has none
    never sees one. No constant, which Icarus would take for unknown in a process without inputs."""
    return Cat(number == n for n, element in enumerate(KV.values()) if element.packed).any()


def sizes(m, config, head, name, size):
    """``size(n, packed)`` for heads of ``n`` blocks, as a new signal.

    ``head`` has members ``head_blocks`` and ``packed``; all heads that a machine supports are
    among the choices, and packed ones only if it has them.
    """
    choices = {(n, packed): int(size(n, bool(packed)))
               for packed in range(1 + config.packs)
               for n in range(1, config.max_head_blocks + 1)}
    result = Signal(range(max(choices.values()) + 1), name=name)
    blocks = len(head.head_blocks)
    with m.Switch(Cat(head.head_blocks, head.packed & config.packs)):
        for (n, packed), value in choices.items():
            with m.Case(n | packed << blocks):
                m.d.comb += result.eq(value)
    return result
