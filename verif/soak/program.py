"""Writes random programs that are legal, in which all units work beside each other.

Vectors of workspace blocks are made, used, and scattered to memory. Between a ``sync`` and the next
no block is written twice, and who reads what another command wrote takes from its counter; a vector
is read by one unit only. So the result does not depend on time.
"""

from dataclasses import dataclass

from hw import isa

from .attention import AttentionWriter
from .image import DATA, OUTPUT


__all__ = ["Program"]

#: Ends of a program's branches over words that are no instructions.
GARBAGE = 63
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


class Program(AttentionWriter):
    """Instructions of a random program.

    Parameters
    ----------
    rng : numpy.random.Generator
    image : :class:`.Image`
    """

    def __init__(self, rng, image):
        self.rng, self.image, self.config = rng, image, image.config
        self.words, self.vectors = [], []
        self.block = self.act = self.staged = 0
        self.out = OUTPUT.start // image.line
        self.block_lines = 128 // image.line
        self.counters = list(range(1, isa.COUNTERS))
        self.heads = list(range(len(image.heads)))
        self.paging = False

    def write(self, steps):
        """A whole program of about so many steps."""
        kinds = [self.vector, self.vector, self.vector, self.quantise_and_multiply, self.attention,
                 self.control, self.loop, self.scatter, self.pick, self.load, self.reuse,
                 self.discard]
        if self.config.cache:
            kinds.append(self.pin)
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

    # What all steps use.

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
        self.heads = list(range(len(self.image.heads)))
        self.staged = 0

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

    # Steps.

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

    def vector(self):
        """An operation on one or two vectors."""
        self.room(24, counters=4)
        name = str(self.rng.choice(["norm", "rope", "gate", "sum", "multiply"]
                                   + ["maximum", "minimum"] * bool(self.config.pages)))
        a = self.some(2 if name == "gate" else None)
        if name == "gate":
            blocks = a.blocks // 2
            if a.counter and a.blocks % 2:
                self.sync()
            self.await_for("vector", a)
            take = self.use(a, "vector")
            out = self.fresh(blocks)
            self.emit("gate", dst=out.start, a=a.start, blocks=blocks, take0=take, take1=take,
                      raise0=out.counter)
            return
        period = self.number(1, a.blocks)
        b = self.some(period if name == "rope" else a.blocks)
        if b.counter and (b is a or b.blocks != (period if name == "rope" else a.blocks)):
            self.sync()
        alone = a.settled and a.reader is None and a is not b
        self.await_for("vector", a, b)
        take0, take1 = self.use(a, "vector"), self.use(b, "vector")
        extra = {"rope": dict(period=period), "norm": dict(imm=0x3727C5AC)}.get(name, {})
        # In place only what nobody else reads.
        if alone and self.flag(0.3):
            a.counter, a.settled = self.counter(), False
            out = a
        else:
            out = self.fresh(a.blocks)
        self.emit(name, dst=out.start, a=a.start, b=b.start, blocks=a.blocks, take0=take0,
                  take1=take1, raise0=out.counter, **extra)

    def quantise_and_multiply(self):
        """Several matrices of one stream, by vectors of their size."""
        matrices = self.image.matrices
        first = self.number(0, len(matrices) - 1)
        chosen = [matrices[first]]
        # One descriptor may read several, if each fills its lines.
        for matrix in matrices[first + 1:first + self.number(1, 3)]:
            if chosen[-1].beats * self.config.beat_bytes % self.image.line:
                break
            chosen.append(matrix)
        beats = sum(matrix.beats for matrix in chosen)
        for n, matrix in enumerate(chosen):
            columns = self.number(1, self.config.columns)
            groups = self.number(1, 2) if matrix.size <= 96 and matrix.format != "int4" else 1
            count, rows = columns * groups, matrix.rows // 32
            self.room(count * (matrix.blocks + rows), count * matrix.blocks, counters=4)
            a = self.gather(count * matrix.blocks)
            act = self.fresh_act(groups * matrix.blocks)
            # A product waits for the blocks of one column only.
            counter = self.counter() if columns == 1 and groups == 1 else 0
            self.emit("quantise", a=a.start, dst=act, blocks=a.blocks, take0=self.use(a, "vector"),
                      group=self.number(1, min(matrix.blocks, 4)), per_vector=matrix.blocks,
                      columns=columns, rule=str(self.rng.choice(isa.RULES)), raise0=counter)
            if not counter:
                self.sync()
            if n == 0:
                self.emit("stream", stream="w", base=matrix.line, beats=beats)
            y = self.fresh(count * rows)
            self.emit("matmul", dst=y.start, act=act, halves=matrix.size // 16, tiles=matrix.tiles,
                      height=matrix.height, tail=matrix.tail, columns=columns, groups=groups,
                      stride=rows, format=matrix.format, take0=counter,
                      raise0=y.counter if count == 1 else 0)
            if count > 1:
                # It counts the blocks of the last vector only.
                self.counters.append(y.counter)
                y.counter = 0

    def pick(self):
        """The largest number of a vector, by way of the register of a ``wait``."""
        self.room(8, counters=2)
        a = self.some()
        self.await_for("vector", a)
        self.emit("pick", a=a.start, blocks=a.blocks, imm=0x3F800000, index=self.number(0, 99),
                  first=1, last=1, noise=int(self.flag()), take0=self.use(a, "vector"))
        register = self.number(FREE[0], FREE[-1])
        self.emit("wait", rd=register, source="token")
        self.emit("emit", ra=register)

    def load(self):
        register = self.number(FREE[0], FREE[-1])
        self.emit("set", rd=COUNT, imm=self.number(0, 31))
        self.emit("load", base=self.number(0, len(DATA) // self.image.line - 2), count=COUNT)
        self.emit("wait", rd=register, source="load")
        self.emit("emit", ra=register)

    def control(self):
        """Arithmetic, and a branch over what is no instruction."""
        for _ in range(self.number(1, 4)):
            rd, ra, rb = (self.number(FREE[0], FREE[-1]) for _ in range(3))
            value = self.number(0, 2**32 - 1)
            match self.number(0, 3):
                case 0:
                    self.emit("set", rd=rd, imm=value)
                case 1:
                    self.emit("add", rd=rd, ra=ra, rb=rb, imm=value)
                case 2:
                    self.emit("mul", rd=rd, ra=ra, imm=value & 0xFFFF)
                case 3:
                    self.emit("emit", ra=ra)
        self.emit("set", rd=ADDRESS, imm=5)
        taken = self.flag()
        self.emit("branch", condition=str(self.rng.choice(["ne", "lt"] if taken else ["eq", "ge"])),
                  ra=0, rb=ADDRESS, target=len(self.words) + 2)
        self.words.append(GARBAGE if taken else isa.encode("set", rd=LOOP, imm=value))

    def pin(self):
        """A range of what is read and written, in the cache: each slot has a part of memory, and of
        the cache, of its own. Or a range is dropped."""
        config, slot = self.config, self.number(0, self.config.ranges - 1)
        if self.flag(0.2):
            self.emit("drop", slot=slot)
            return
        part = OUTPUT.start // self.image.line // config.ranges
        places = config.cache_bursts // config.ranges
        # One burst more may be touched if the range begins inside one.
        most = min(part, (places - 1) * config.burst_lines)
        lines = self.number(1, most)
        self.emit("pin", slot=slot, base=slot * part + self.number(0, part - lines), lines=lines,
                  place=slot * places, preload=self.flag())

    def loop(self):
        """A vector operation over one part of memory after the other."""
        self.room(8, counters=3)
        self.sync()
        blocks, turns = self.number(1, 4), self.number(1, 4)
        first = self.number(0, len(DATA) // 128 - turns * blocks)
        step = blocks * self.block_lines
        if self.out + turns * step > OUTPUT.stop // self.image.line:
            self.out = OUTPUT.start // self.image.line
        for register, value in ((LOOP, 0), (LIMIT, turns), (OFFSET, 0)):
            self.emit("set", rd=register, imm=value)
        start = len(self.words)
        a, b = self.block, self.block + blocks
        gathered, added = self.counter(), self.counter()
        self.emit("gather", dst=a, blocks=blocks, base=first * self.block_lines, offset=OFFSET,
                  raise0=gathered)
        self.emit("sum", dst=b, a=a, b=a, blocks=blocks, take0=gathered, raise0=added)
        self.emit("scatter", a=b, blocks=blocks, base=self.out, offset=OFFSET, take0=added)
        self.emit("add", rd=OFFSET, ra=OFFSET, imm=step)
        self.emit("add", rd=LOOP, ra=LOOP, imm=1)
        self.emit("sync")
        self.emit("branch", condition="lt", ra=LOOP, rb=LIMIT, target=start)
        self.counters += [gathered, added]
        self.out += turns * step

    def reuse(self):
        """Blocks that are overwritten as soon as they were read: a counter of free blocks."""
        self.room(16, counters=4)
        self.sync()
        blocks, turns = self.number(1, 4), self.number(2, 4)
        ready, free = self.counter(), self.counter()
        buffer = self.block
        self.block += blocks
        self.emit("raise", counter=free, count=blocks)
        stores = self.flag()
        for _ in range(turns):
            self.emit("gather", dst=buffer, blocks=blocks, take0=free, raise0=ready,
                      base=self.number(0, len(DATA) // 128 - blocks) * self.block_lines)
            if stores:
                self.emit("scatter", a=buffer, blocks=blocks, base=self.out, take0=ready,
                          raise1=free)
                self.out += blocks * self.block_lines
            else:
                self.emit("multiply", dst=self.block, a=buffer, b=buffer, blocks=blocks,
                          take0=ready, raise1=free)
            if self.out + 64 > OUTPUT.stop // self.image.line:
                break
        # What is free at the end is taken by somebody.
        self.emit("gather", dst=buffer, blocks=blocks, base=0, take0=free)
        self.emit("sync")
        self.counters += [ready, free]

    def discard(self):
        """Weights that were ordered for nothing."""
        self.sync()
        self.emit("stream", stream="w", base=self.number(0, 255), beats=self.number(1, 200))
        for _ in range(self.number(0, 5)):
            self.emit("set", rd=LIMIT, imm=3)
        self.emit("flush", w=1)
