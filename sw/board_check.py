"""Tests the cable and the memory of a board through its host link."""

import time
from dataclasses import dataclass, field

import numpy as np

from fpga.link.protocol import CHECK_HASH, Kind, Status
from hw.register_map import PAGE
from sw.errors import UserError
from sw.runtime.host_link import Request


__all__ = ["BoardCheck", "Found"]

#: Bytes of a line's byte, with start and stop bit; seconds of traffic in each direction.
BITS, SECONDS = 10, 3


@dataclass
class Found:
    """What a test of memory found.

    Members
    -------
    bytes : int
        Written, and read again.
    write, read : float
        Bytes a second.
    wrong : list of (int, int, int)
        Address, what was written and what was read, of wrong words.
    words : int
        Tested.
    """

    bytes: int = 0
    write: float = 0.0
    read: float = 0.0
    words: int = 0
    wrong: list = field(default_factory=list)

    def bits(self):
        """Bits of a word that were wrong at some address."""
        changed = 0
        for _, written, read in self.wrong:
            changed |= written ^ read
        return [n for n in range(changed.bit_length()) if changed >> n & 1]


class BoardCheck:
    """Writes and reads the memory of any design with a host link; no machine is needed.

    Parameters
    ----------
    link : :class:`sw.runtime.host_link.HostLink`
    seed : int
        Of data and places.
    """

    def __init__(self, link, seed=1):
        self.link, self.rng = link, np.random.default_rng(seed)
        self.identity = link.identity
        self.bytes = self.identity.pages * PAGE

    def who(self):
        """What is loaded, in words."""
        identity = self.identity
        loaded = ("check design" if identity.hash == CHECK_HASH
                  else f"machine of the configuration with hash {identity.hash:#010x}")
        return (f"{loaded}, {identity.clock_hz / 1e6:g} MHz, {self.bytes:,} bytes of memory in "
                f"words of {identity.word}, line {identity.baud:,} baud")

    def wires(self):
        """Each data pin and each address pin by itself.

        Returns
        -------
        :class:`Found`
        """
        word, found = self.identity.word, Found()
        # A one that walks through a word, and a zero.
        for n in range(8 * word):
            for value in (1 << n, (1 << 8 * word) - 1 ^ 1 << n):
                self._write([(0, value.to_bytes(word, "little"))])
                self._compare(found, [(0, value.to_bytes(word, "little"))])
        # A word at each power of two, all different: two that are one tell of a pin.
        places = [0, *(1 << n for n in range(word.bit_length() - 1, self.bytes.bit_length() - 1))]
        parts = [(place, self.rng.bytes(word)) for place in places]
        self._write(parts)
        self._compare(found, parts)
        return found

    def traffic(self, count=None):
        """Random blocks at random places, the first and the last among them.

        Parameters
        ----------
        count : int or None
            Bytes; by default as many as take some seconds.

        Returns
        -------
        :class:`Found`
        """
        block, found = self.identity.block, Found()
        if count is None:
            count = self.identity.baud // BITS * SECONDS
        most = self.bytes // block
        places = dict.fromkeys([0, most - 1, *self.rng.permutation(most).tolist()])
        parts = [(place * block, self.rng.bytes(block))
                 for place in list(places)[:max(2, count // block)]]
        start = time.perf_counter()
        self._write(parts)
        middle = time.perf_counter()
        self._compare(found, parts)
        end = time.perf_counter()
        found.bytes = len(parts) * block
        found.write, found.read = found.bytes / (middle - start), found.bytes / (end - middle)
        return found

    def _write(self, parts):
        self._carry_out([Request(Kind.WRITE_MEMORY, len(data), place, data)
                         for place, data in parts])

    def _compare(self, found, parts):
        """Read what was written."""
        word = self.identity.word
        answers = self._carry_out([Request(Kind.READ_MEMORY, len(data), place)
                                   for place, data in parts])
        for (place, data), answer in zip(parts, answers):
            found.words += len(data) // word
            if answer.payload == data:
                continue
            for n in range(0, len(data), word):
                written, read = (int.from_bytes(text[n:n + word], "little")
                                 for text in (data, answer.payload))
                if written != read:
                    found.wrong.append((place + n, written, read))

    def _carry_out(self, requests):
        answers = self.link.ask_all(requests)
        for asked, answer in zip(requests, answers):
            if answer.status != Status.OK:
                why = ("does not answer" if answer.status == Status.SILENT
                       else f"answers {answer.status.name}")
                raise UserError(f"the board's memory {why} at {asked.address:#x}; does its chip "
                                "have power and its clock?")
        return answers
