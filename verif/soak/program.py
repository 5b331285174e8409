"""Writes random programs that are legal, in which all units work beside each other."""

from .cache import CacheSteps
from .control import ControlSteps


__all__ = ["Program"]


class Program(CacheSteps, ControlSteps):
    """Instructions of a random program.

    Parameters
    ----------
    rng : numpy.random.Generator
    image : :class:`.Image`
    """

    def write(self, steps):
        """A whole program of about so many steps."""
        kinds = [self.vector, self.vector, self.vector, self.quantise_and_multiply, self.attention,
                 self.control, self.loop, self.scatter, self.pick, self.load, self.reuse,
                 self.discard]
        if self.config.cache:
            kinds += [self.pin, self.pin]
        if self.rng.random() < 0.2:
            self.page_table()
        for _ in range(steps):
            kinds[self.rng.integers(len(kinds))]()
        return self.end()

    def write_all(self):
        """A program in which every kind of step occurs."""
        pin = [self.pin] if self.config.cache else []
        for step in (self.page_table, *pin, self.vector, self.quantise_and_multiply,
                     self.attention, self.control, self.loop, self.pick, self.load, self.reuse,
                     self.discard, self.vector, self.attention, self.quantise_and_multiply):
            step()
        return self.end()

    def end(self):
        self.sync()
        for vector in self.vectors:
            self.scatter(vector)
        self.emit("stop")
        return self.words
