"""Writes random programs that are legal, in which all units work beside each other."""

from .attention import AttentionSteps
from .control import ControlSteps
from .image import HEADS
from .vector import VectorSteps


__all__ = ["Program"]


class Program(VectorSteps, AttentionSteps, ControlSteps):
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

    def pin(self):
        """A matrix, or keys and values, in the cache, and steps that read them, the second of them
        behind what the first one wrote."""
        if self.flag(0.2):
            self.drop(self.number(0, self.config.ranges - 1))
        if self.flag():
            n, step = self.number(0, HEADS - 1), self.attention
            first, size = self.image.heads[n], self.image.head_lines
        else:
            n, step = self.number(0, len(self.image.matrices) - 1), self.quantise_and_multiply
            first, size = self.image.matrices[n].line, self.image.matrices[n].lines(self.config)
        self.hold(first, size, self.flag())
        for _ in range(self.number(0, 2)):
            step(n)

    def end(self):
        self.sync()
        for vector in self.vectors:
            self.scatter(vector)
        self.emit("stop")
        return self.words
