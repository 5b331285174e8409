"""The host link, defined once for hardware, runtime and documentation. Plain Python.

docs/boards.md has the frames as tables, and examples.
"""

import struct
from dataclasses import astuple, dataclass
from enum import IntEnum


__all__ = ["Kind", "Status", "Identity", "MAGIC", "VERSION", "CHECK_HASH", "HEADER", "CHECK",
           "REPLY", "IRQ", "PAYLOADS", "REGISTER_KINDS"]

#: First word of :class:`Identity`: the letters TKML.
MAGIC = 0x4C4D4B54
VERSION = 1

#: The identity's hash if there is no machine: the letters TKMX.
CHECK_HASH = 0x584D4B54

#: Bytes of the header of a frame, and of the checksum at its end.
HEADER, CHECK = 8, 4

#: Bit of a reply's kind; bit of its flags.
REPLY, IRQ = 0x80, 1


class Kind(IntEnum):
    """What a request asks for."""

    IDENTIFY = 0            # who is there; the numbers of requests begin behind this one
    READ_MEMORY = 1
    WRITE_MEMORY = 2
    READ_REGISTERS = 3      # registers that follow each other
    TAKE_REGISTER = 4       # one register, again and again
    WRITE_REGISTER = 5      # one register, again and again
    WAIT = 6                # for the interrupt


class Status(IntEnum):
    """What became of a request."""

    OK = 0
    OUT_OF_ORDER = 1    # nothing: its number is not the next one
    WRONG = 2           # nothing: it makes no sense
    REFUSED = 3         # the bus answered with an error; what comes behind was left out
    SILENT = 4          # the bus did not answer; what comes behind was left out


#: Requests that carry a payload; those that are about registers.
PAYLOADS = (Kind.WRITE_MEMORY, Kind.WRITE_REGISTER)
REGISTER_KINDS = (Kind.READ_REGISTERS, Kind.TAKE_REGISTER, Kind.WRITE_REGISTER)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Payload of the reply to ``IDENTIFY``, one word of 32 bits each, after :data:`MAGIC` and
    :data:`VERSION`.

    Parameters
    ----------
    hash : int
        Of the configuration, as register ``hash``; :data:`CHECK_HASH` without a machine.
    block : int
        Bytes that a frame carries at most.
    window : int
        Requests that may be unanswered.
    word : int
        Bytes of a memory word: addresses and counts are multiples.
    pages : int
        Memory, in pages of 4 KiB.
    clock_hz, baud : int
        Clock of the machine, and rate of the line.
    """

    hash: int
    block: int
    window: int
    word: int
    pages: int
    clock_hz: int
    baud: int

    FORMAT = "<9I"
    BYTES = struct.calcsize(FORMAT)

    def pack(self):
        """The payload."""
        return struct.pack(self.FORMAT, MAGIC, VERSION, *astuple(self))

    @classmethod
    def unpack(cls, payload):
        """The identity in a payload, or a sentence that says why it is none."""
        if len(payload) != cls.BYTES:
            return f"its identity has {len(payload)} bytes, not {cls.BYTES}"
        magic, version, *rest = struct.unpack(cls.FORMAT, payload)
        if magic != MAGIC:
            return f"its identity begins with {magic:#010x}, not {MAGIC:#010x}"
        if version != VERSION:
            return f"it speaks version {version} of the link, this program {VERSION}"
        return cls(**dict(zip(cls.__dataclass_fields__, rest)))
