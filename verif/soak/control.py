"""Steps of random programs that decide what comes next, or order what is not needed."""

from hw import isa

from .image import DATA, OUTPUT
from .writer import ADDRESS, FREE, LIMIT, LOOP, OFFSET, Writer


__all__ = ["GARBAGE", "ControlSteps"]

#: What branches jump over: no instruction.
GARBAGE = 63


class ControlSteps(Writer):
    """Part of :class:`.Program`: arithmetic, branches, loops, blocks used again, and orders for
    nothing."""

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
