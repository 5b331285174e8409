"""Ranges of memory that random programs hold in the cache."""

from .writer import Writer


__all__ = ["CacheSteps"]


class CacheSteps(Writer):
    """Part of :class:`.Program`: pins and drops."""

    def drop(self, slot):
        self.emit("drop", slot=slot)
        self.ranges.pop(slot, None)

    def hold(self, first, size, preload):
        """A part of these lines, or all, in the cache. Ranges in its way are dropped first."""
        config = self.config
        # One burst more is touched if the range begins inside one.
        most = min(size, (config.cache_bursts - 1) * config.burst_lines)
        lines = most if self.flag() else self.number(1, most)
        base = first + self.number(0, size - lines)
        bursts = (base + lines - 1) // config.burst_lines - base // config.burst_lines + 1
        place, slot = (self.number(0, config.cache_bursts - bursts),
                       self.number(0, config.ranges - 1))
        for other, (memory, rows) in list(self.ranges.items()):
            if other != slot and (base < memory.stop and memory.start < base + lines
                                  or place < rows.stop and rows.start < place + bursts):
                self.drop(other)
        self.ranges[slot] = range(base, base + lines), range(place, place + bursts)
        self.emit("pin", slot=slot, base=base, lines=lines, place=place, preload=preload)
