"""The register map, defined once for hardware, runtime and documentation. Plain Python."""

from dataclasses import dataclass
from enum import IntEnum


__all__ = ["Register", "REGISTERS", "BY_NAME", "COUNTERS", "Cause", "Place", "PLACES", "PLACE_BITS",
           "place", "IDENTITY", "VERSION", "PAGE", "START", "ABORT", "RUNNING", "DONE",
           "FAULT", "HUNG"]

#: Value of register ``identity``: the letters TKMC.
IDENTITY = 0x434D4B54
VERSION = 1

#: Unit of the window registers, in bytes.
PAGE = 4096

#: Bits of ``control``.
START, ABORT = 1, 2

#: Bits of ``status``.
RUNNING, DONE, FAULT, HUNG = 1, 2, 4, 8


class Cause(IntEnum):
    """Why a run ended with a fault."""

    NONE = 0
    ILLEGAL = 1         # illegal or reserved instruction
    READ_WINDOW = 2     # a read outside the host's read window
    WRITE_WINDOW = 3    # a write outside the host's write window
    READ_BUS = 4        # the bus answered a read with an error
    WRITE_BUS = 5       # the bus answered a write with an error
    WATCHDOG = 6        # nothing moved for ``watchdog`` cycles
    COUNTER = 7         # a block counter ran over or under
    ABORTED = 8         # the host asked
    TABLE = 9           # a KV block beyond the block table
    CHOICE = 10         # a list of pages that is not ascending, or too many to choose from
    HUNG = 11           # the program stopped, but the bus did not come to rest
    RANGE = 12          # a range that exceeds the cache, or overlaps another one
    ECC = 13            # wrong bits in a memory or a setting, which cannot be corrected


class Place(IntEnum):
    """Where bits were wrong."""

    PROGRAM = 1
    WORKSPACE_A = 2
    WORKSPACE_B = 3
    CACHE = 4
    SETTING = 5


#: What the address in each of them is.
PLACES = {
    Place.PROGRAM: "instruction of program memory",
    Place.WORKSPACE_A: "row of the workspace, in the copy for the vector unit's `a` and the mover",
    Place.WORKSPACE_B: "row of the workspace, in the copy for the vector unit's `b` and the drain",
    Place.CACHE: "word of the cache's SRAM, `W` bytes",
    Place.SETTING: "offset of a read-write register",
}

#: Lower bits of a place: an address in what :class:`Place` names.
PLACE_BITS = 28


def place(where, address):
    """A place and an address there in 32 bits; the address may be an Amaranth value."""
    return (where << PLACE_BITS) | address


@dataclass(frozen=True)
class Register:
    """A 32-bit register at byte ``offset``; ``access`` is ``ro``, ``rw`` or ``wo``."""

    name: str
    offset: int
    access: str
    doc: str


#: Event counters, 64 bits each: low word first. They hold while the machine rests.
COUNTERS = (
    ("cycles", "cycles of the run"),
    ("busy", "cycles in which the array took a beat"),
    ("memory", "cycles in which the array waited for memory"),
    ("dependency", "cycles in which the array waited for another unit"),
    ("other", "all other cycles"),
    ("w_words", "words read from memory for the W stream"),
    ("d_words", "words read from memory for the D stream"),
    ("g_words", "words read by the mover"),
    ("written", "words written"),
    ("instructions", "instructions executed"),
    ("nan_groups", "groups that were quantised with a NaN or an infinity among their elements"),
    ("hits", "beats read from the cache"),
    ("misses", "bursts in a pinned range that a stream read from memory"),
    ("fills", "lines of the cache that became valid"),
    ("stalls", "cycles in which a beat waited for the cache to be read for the other stream"),
    ("corrected", "words of memories on the die in which a wrong bit was corrected"),
)

REGISTERS = (
    Register("identity", 0x00, "ro", "0x434D4B54, the letters TKMC"),
    Register("version", 0x04, "ro", "version of the register map and instruction set"),
    Register("hash", 0x08, "ro", "hash of the configuration"),
    Register("control", 0x0C, "wo", "bit 0 starts a run, bit 1 aborts it"),
    Register("status", 0x10, "ro",
             "bit 0 running, bit 1 done, bit 2 ended by a fault, bit 3 bus hung"),
    Register("cause", 0x14, "ro", "why the run ended; see the table of causes"),
    Register("pc", 0x18, "ro", "instruction being executed, or that of the fault"),
    Register("fault_low", 0x1C, "ro", "address of the fault, low word; of `ECC` a place"),
    Register("fault_high", 0x20, "ro", "address of the fault, high word"),
    Register("emitted", 0x24, "ro", "takes the oldest emitted value"),
    Register("emitted_count", 0x28, "ro", "emitted values that wait"),
    Register("watchdog", 0x2C, "rw",
             "cycles without progress that end the run, and of the bus that end the halt; 0 never"),
    Register("read_base", 0x30, "rw", "first 4 KiB page that may be read"),
    Register("read_limit", 0x34, "rw", "first page after those"),
    Register("write_base", 0x38, "rw", "first page that may be written"),
    Register("write_limit", 0x3C, "rw", "first page after those"),
    Register("seed_low", 0x40, "rw", "key of the random numbers, low word"),
    Register("seed_high", 0x44, "rw", "key of the random numbers, high word"),
    Register("program_address", 0x48, "rw", "32-bit word of program memory written next"),
    Register("program_data", 0x4C, "wo", "writes program memory and moves on by one word"),
    Register("corrected_place", 0x50, "ro", "place of the last word corrected in the run"),
    *(Register(f"{name}_{half}", 0x80 + 8 * n + 4 * h, "ro", f"{doc}, {half} word")
      for n, (name, doc) in enumerate(COUNTERS) for h, half in enumerate(("low", "high"))),
)

BY_NAME = {register.name: register for register in REGISTERS}
