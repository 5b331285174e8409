"""What tests of programs on the whole machine share; ``device`` of conftest.py is the machine."""

import numpy as np

from hw import isa
from hw import register_map as rm


__all__ = ["COPY", "ENDED", "LINE", "MEMORY", "copies", "fails", "run", "start"]

#: Of the configuration ``nano``, and of the machine of the tests.
LINE, MEMORY = 64, 1 << 20

#: Status of a run that a fault ended.
ENDED = rm.DONE | rm.FAULT

#: Copies a block from line 0 to line 16, and emits 7.
COPY = [
    isa.encode("gather", dst=0, blocks=1, base=0, raise0=1),
    isa.encode("scatter", a=0, blocks=1, base=16, take0=1),
    isa.encode("sync"),
    isa.encode("set", rd=1, imm=7),
    isa.encode("emit", ra=1),
    isa.encode("stop"),
]


def start(device, words):
    device.program(words)
    device.start()


def run(device, words, cycles=100_000):
    """Status of a run."""
    start(device, words)
    return device.run(cycles)


def copies(device):
    """Whether a correct program does what it should."""
    data = np.arange(1, 33, dtype=np.float32).tobytes()
    device.write(0, data)
    device.write(16 * LINE, bytes(len(data)))
    assert run(device, COPY) == rm.DONE
    return device.read(16 * LINE, len(data)) == data and device.emitted() == [7]


def fails(device, words, cause, address=None, pc=None):
    """The run ends with this cause, and the next program runs normally."""
    assert run(device, words) == ENDED
    assert device.cause() == cause
    if address is not None:
        assert device.read_register("fault_low") == address
    if pc is not None:
        assert device.read_register("pc") == pc
    assert copies(device)
