"""What a legal program must give, and what memory it needs for that, from the emulator."""

from dataclasses import dataclass

import numpy as np

from hw import isa
from hw import register_map as rm
from sw.runtime.emulator import Emulator

from .control import GARBAGE
from .image import MEMORY, WRITABLE


__all__ = ["WINDOWS", "Oracle", "Wanted"]

#: Windows in which all programs are legal.
WINDOWS = {"read_base": 0, "read_limit": MEMORY // rm.PAGE, "write_base": WRITABLE.start // rm.PAGE,
           "write_limit": WRITABLE.stop // rm.PAGE}


@dataclass(frozen=True)
class Wanted:
    """Memory behind a run, emitted values, and ``(address, bytes)`` of what was read and written.
    """

    memory: np.ndarray
    emitted: list
    reads: list
    writes: list

    @property
    def windows(self):
        """The smallest ones in which the program is legal; those of a program that does not read,
        or write, are empty."""
        found = {}
        for side, seen in (("read", self.reads), ("write", self.writes)):
            found[f"{side}_base"] = min((at for at, _ in seen), default=0) // rm.PAGE
            found[f"{side}_limit"] = -(-max((at + size for at, size in seen), default=0) // rm.PAGE)
        return found


class Oracle(Emulator):
    """The emulator; it notes what memory is read and written."""

    def __init__(self, image):
        super().__init__(image.config, memory_bytes=MEMORY, order=1)
        self.image = image
        self.registers.update(WINDOWS)

    def check_read(self, address, size):
        super().check_read(address, size)
        self.reads.append((address, size))

    def check_write(self, address, size):
        super().check_write(address, size)
        self.writes.append((address, size))

    def wanted(self, words):
        """The :class:`Wanted` of a program; a program that is not legal raises ``ValueError``."""
        self.reads, self.writes, emitted = [], [], []
        self.memory[:] = self.image.bytes
        self.program(words)
        self._note_orders(words)
        self.start()
        while self.run(1000) == rm.RUNNING:
            emitted += self.emitted()
        if self.status != rm.DONE:
            raise ValueError(f"the emulator ended with {self.cause().name}: {self.diagnosis()}")
        return Wanted(self.memory.copy(), emitted + self.emitted(), self.reads, self.writes)

    def _note_orders(self, words):
        """What is read as soon as it is ordered, even if nobody waits for it."""
        line = self.config.line_bytes
        for name, values in (isa.decode(word) for word in words if word != GARBAGE):
            if name == "stream":
                self.reads.append((values["base"] * line, values["beats"] * self.config.beat_bytes))
            elif name == "pin" and values["preload"]:
                self.reads.append((values["base"] * line, values["lines"] * line))
