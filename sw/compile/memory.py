"""Memory image: regions of whole lines, one after another, behind a header."""

import struct
from dataclasses import dataclass

import numpy as np

from hw.register_map import PAGE


__all__ = ["HEADER_MAGIC", "MemoryMap", "Region", "row_lines"]

HEADER_MAGIC = b"TKMI"
HEADER_VERSION = 1


def row_lines(config, blocks):
    """Lines of a row of float32 blocks."""
    return -(-128 * blocks // config.line_bytes)


@dataclass(frozen=True)
class Region:
    """A named part of memory; ``line`` and ``lines`` count lines, ``size`` counts bytes."""

    name: str
    line: int
    lines: int
    size: int


class MemoryMap:
    """Regions and their contents.

    Regions that the machine writes come last, from a page boundary on: the host lets it write
    only there.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    """

    def __init__(self, config):
        self.config = config
        self.regions = {}
        self.contents = {}
        self.next_line = 0
        self.writable = None
        self.place("header", 64, b"")

    def place(self, name, size, data=None):
        """Append a region of ``size`` bytes and return it."""
        lines = -(-size // self.config.line_bytes)
        region = Region(name, self.next_line, lines, size)
        self.regions[name] = region
        if data is not None:
            self.contents[name] = data
        self.next_line += lines
        return region

    def place_data(self, name, data):
        """Append a region that holds ``data``."""
        return self.place(name, len(data), data)

    def place_rows(self, name, rows):
        """Append float32 rows of whole blocks, each from the start of a line."""
        rows = np.asarray(rows, "<f4")
        lines = self.row_lines(rows.shape[1] // 32)
        padded = np.zeros((len(rows), lines * self.config.line_bytes // 4), "<f4")
        padded[:, :rows.shape[1]] = rows
        return self.place(name, padded.nbytes, padded.view(np.uint8).reshape(-1))

    def row_lines(self, blocks):
        """Lines of a row of float32 blocks."""
        return row_lines(self.config, blocks)

    def begin_writable(self):
        """Let the regions from here on be written by the machine."""
        page_lines = max(1, PAGE // self.config.line_bytes)
        self.next_line = -(-self.next_line // page_lines) * page_lines
        self.writable = self.next_line

    @property
    def bytes(self):
        """Bytes of all regions, in whole pages."""
        return -(-self.next_line * self.config.line_bytes // PAGE) * PAGE

    @property
    def read_only_bytes(self):
        """Bytes up to the first region that the machine writes: the size of the image."""
        return self.writable * self.config.line_bytes

    def image(self):
        """The read-only part as a uint8 array, with the header filled in."""
        image = np.zeros(self.read_only_bytes, np.uint8)
        for name, data in self.contents.items():
            start = self.regions[name].line * self.config.line_bytes
            image[start:start + len(data)] = np.frombuffer(data, np.uint8)
        header = struct.pack("<4sIIIQQ", HEADER_MAGIC, HEADER_VERSION, self.config.hash,
                             self.config.line_bytes, self.read_only_bytes, self.bytes)
        image[:len(header)] = np.frombuffer(header, np.uint8)
        return image

    def symbols(self):
        """(name, first line, lines) of every region."""
        return [(region.name, region.line, region.lines) for region in self.regions.values()]
