"""Steps of random programs that hold ranges of memory in the cache."""

from .attention import AttentionSteps
from .image import HEADS
from .vector import VectorSteps


__all__ = ["CacheSteps"]


class CacheSteps(VectorSteps, AttentionSteps):
    """Part of :class:`.Program`: pins and drops, and what finds the ranges."""

    def pin(self):
        """A part of a matrix, or of keys and values, in the cache, and steps that read it, the
        second of them behind what the first one wrote. Ranges in its way are dropped first."""
        config, slots = self.config, self.config.ranges - 1
        if self.flag(0.2):
            slot = self.number(0, slots)
            self.emit("drop", slot=slot)
            self.ranges.pop(slot, None)
        keys = self.flag()
        n = self.number(0, HEADS - 1 if keys else len(self.image.matrices) - 1)
        if keys:
            first, size = self.image.heads[n], self.image.head_lines
        else:
            matrix = self.image.matrices[n]
            first, size = matrix.line, matrix.lines(config)
        # One burst more is touched if the range begins inside one.
        lines = self.number(1, min(size, (config.cache_bursts - 1) * config.burst_lines))
        base = first + self.number(0, size - lines)
        bursts = (base + lines - 1) // config.burst_lines - base // config.burst_lines + 1
        place = self.number(0, config.cache_bursts - bursts)
        slot, taken = self.number(0, slots), (base, base + lines, place, place + bursts)
        for other, (low, high, bottom, top) in list(self.ranges.items()):
            if other != slot and (base < high and low < base + lines
                                  or place < top and bottom < place + bursts):
                self.emit("drop", slot=other)
                del self.ranges[other]
        self.ranges[slot] = taken
        self.emit("pin", slot=slot, base=base, lines=lines, place=place, preload=self.flag())
        for _ in range(self.number(0, 2)):
            if keys:
                self.attention(n)
            else:
                self.quantise_and_multiply(n)
