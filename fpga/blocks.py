"""The parts around the machine, as they are on a ULX3S: for measurements of clock rate and size."""

from .link.link import Link
from .link.protocol import Identity
from .memory.join import Join
from .memory.sdram import Sdram
from .memory.sdram_chip import CHIPS


__all__ = ["BLOCKS"]

#: Clock for which times of the SDRAM are counted, and rate of the line.
CLOCK_HZ, BAUD = 80_000_000, 3_000_000


def link(config):
    """The host link."""
    return Link(config, Identity(hash=config.hash, block=1024, window=2, word=config.word_bytes,
                                 pages=8192, clock_hz=CLOCK_HZ, baud=BAUD))


def sdram(config):
    """The controller of the memory."""
    return Sdram(config, CHIPS["ulx3s"], CLOCK_HZ)


#: Name -> function from a configuration to the component.
BLOCKS = {"memory_join": Join, "link": link, "sdram": sdram}
