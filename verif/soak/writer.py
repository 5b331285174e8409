"""What all steps of random programs use: instructions, blocks, counters.

Vectors of workspace blocks are made, used, and scattered to memory. Between a ``sync`` and the next
no block is written twice, and who reads what another command wrote takes from its counter; a vector
is read by one unit only. So the result does not depend on time.
"""

from dataclasses import dataclass

from hw import isa

from .image import DATA, OUTPUT


__all__ = ["ADDRESS", "COUNT", "FREE", "LIMIT", "LOOP", "OFFSET", "Vector", "Writer"]

#: Registers that loops and attention use; the others hold anything.
LOOP, LIMIT, OFFSET, COUNT, ADDRESS = 1, 2, 3, 4, 5
FREE = range(6, 16)


@dataclass
class Vector:
    """Blocks of the workspace; ``counter`` counts those that are written, if nobody took it."""

    start: int
    blocks: int
    counter: int
    settled: bool = False
    reader: str | None = None


class Writer:
    """Part of :class:`.Program`: its state.

    Parameters
    ----------
    rng : numpy.random.Generator
    image : :class:`.Image`
    """

    def __init__(self, rng, image):
        self.rng, self.image, self.config = rng, image, image.config
        self.words, self.vectors = [], []
        self.block = self.act = 0
        self.staged = False         # whether a token is on its way to memory
        self.out = OUTPUT.start // image.line
        self.block_lines = 128 // image.line
        self.counters = list(range(1, isa.COUNTERS))
        self.ranges = {}            # of the cache, by slot: lines, and bursts of the SRAM

    def emit(self, name, **values):
        self.words.append(isa.encode(name, **values))

    def number(self, low, high):
        """A number from ``low`` to ``high``."""
        return int(self.rng.integers(low, high + 1))

    def flag(self, chance=0.5):
        return bool(self.rng.random() < chance)

    def room(self, blocks=0, act=0, counters=0):
        """Make room for what a step writes; vectors are forgotten if there is none."""
        if (self.block + blocks > self.config.blocks or self.act + act > self.config.act_blocks
                or len(self.counters) < counters):
            self.sync()
            for vector in self.vectors:
                if self.flag(0.3):
                    self.scatter(vector)
            self.sync()
            self.vectors, self.block, self.act = [], 0, 0

    def sync(self):
        """Wait for all; counters that nobody took from are taken."""
        for vector in self.vectors:
            if vector.counter:
                self.scatter(vector)
        self.emit("sync")
        for vector in self.vectors:
            vector.settled, vector.reader = True, None
        self.counters = list(range(1, isa.COUNTERS))
        self.staged = False

    def counter(self):
        return self.counters.pop(self.number(0, len(self.counters) - 1))

    def fresh(self, blocks):
        """A vector that the next command writes; it raises the vector's counter."""
        vector = Vector(self.block, blocks, self.counter())
        self.block += blocks
        self.vectors.append(vector)
        return vector

    def fresh_act(self, blocks):
        first, self.act = self.act, self.act + blocks
        return first

    def some(self, blocks=None):
        """A vector to read, of at least so many blocks; :meth:`room` was made for it."""
        wanted = blocks or 1
        fitting = [v for v in self.vectors if v.blocks >= wanted]
        if not fitting or self.flag(0.3):
            return self.gather(blocks or self.number(1, 8))
        return fitting[self.number(0, len(fitting) - 1)]

    def await_for(self, unit, *vectors):
        """Make sure that ``unit`` may read vectors, with :meth:`use`; before anything is made."""
        if any(not v.counter and not v.settled and v.reader != unit for v in vectors):
            self.sync()

    def use(self, vector, unit):
        """The counter to take from before ``unit`` reads a vector, block by block, whole."""
        counter, vector.counter = vector.counter, 0
        vector.reader = unit
        return counter

    def gather(self, blocks):
        first = self.number(0, len(DATA) // 128 - blocks)
        vector = self.fresh(blocks)
        self.emit("gather", dst=vector.start, blocks=blocks, base=first * self.block_lines,
                  raise0=vector.counter)
        return vector

    def scatter(self, vector=None):
        """Whole, as its counter must come to 0."""
        if vector is None:
            self.room(8, counters=2)
            vector = self.some()
        self.await_for("mover", vector)
        if self.out + vector.blocks * self.block_lines > OUTPUT.stop // self.image.line:
            self.out = OUTPUT.start // self.image.line
            self.emit("sync")
        self.emit("scatter", a=vector.start, blocks=vector.blocks, base=self.out,
                  take0=self.use(vector, "mover"))
        self.out += vector.blocks * self.block_lines
