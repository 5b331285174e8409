"""Which reads the cache serves."""

import numpy as np

from .memory import bursts


__all__ = ["Cache"]


class Cache:
    """Ranges and valid lines, as far as they do not depend on time: each read has come before the
    next one, and what is written has reached memory.

    Reference for :class:`hw.memory.cache.Cache`. Data are those of memory, always.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    ranges : dict
        Slot -> ``(first line, lines, place, valid)`` of live ranges, ``valid`` an array of bool,
        one for each line.
    hits, misses, fills : int
        Beats read from the cache, bursts inside ranges that were read from memory, and lines that
        became valid.
    """

    def __init__(self, config):
        self.config = config
        self.ranges = {}
        self.hits = self.misses = self.fills = 0

    def pin(self, slot, first, lines, place, preload=False):
        """Hold a range; False if that is illegal, and then nothing changes."""
        top = place + self._burst(first + lines - 1) - self._burst(first)
        if first + lines > 2**32 or top >= self.config.cache_bursts:
            return False
        for other, (start, count, at, _) in self.ranges.items():
            end = at + self._burst(start + count - 1) - self._burst(start)
            if other != slot and (first < start + count and start < first + lines
                                  or place <= end and at <= top):
                return False
        self.ranges[slot] = first, lines, place, np.full(lines, preload)
        self.fills += lines * preload
        return True

    def _burst(self, line):
        return line // self.config.burst_lines

    def drop(self, slot):
        """Hold a range no longer."""
        self.ranges.pop(slot, None)

    def read(self, address, words):
        """``(address, words)`` of the bursts of a run of whole beats that memory is asked for."""
        return [burst for burst in bursts(address, words, self.config) if not self._hit(*burst)]

    def write(self, address, strobe):
        """Bytes are written, a bit each, from a multiple of ``config.cache_granule`` on: where
        only a part of those that share check bits is, the line becomes invalid."""
        size, ones = self.config.cache_granule, (1 << self.config.cache_granule) - 1
        while strobe:
            if strobe & ones not in (0, ones):
                line = address // self.config.line_bytes
                for first, lines, _, valid in self.ranges.values():
                    if first <= line < first + lines:
                        valid[line - first] = False
            address, strobe = address + size, strobe >> size

    def _hit(self, address, words):
        """Whether a burst is here; else it is filled as far as it can be."""
        config = self.config
        end = address + words * config.word_bytes
        first, last = address // config.line_bytes, (end - 1) // config.line_bytes
        for start, lines, _, valid in self.ranges.values():
            if start <= first and last < start + lines:
                if valid[first - start:last - start + 1].all():
                    self.hits += words // config.beat_words
                    return True
                whole = slice(-(-address // config.line_bytes) - start,
                              end // config.line_bytes - start)
                self.misses += 1
                # Also those that were valid are filled.
                self.fills += max(0, whole.stop - whole.start)
                valid[whole] = True
        return False
