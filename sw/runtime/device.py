"""What a machine offers to software, whatever it is made of."""

from typing import Protocol


__all__ = ["Device"]


class Device(Protocol):
    """A machine with its memory. The emulator, the simulator and boards have these calls.

    Addresses are bytes; registers are those of :mod:`hw.register_map`, by name.
    """

    def load(self, address, data):
        """Put bytes into memory, as :meth:`write`, but meant for much of them."""

    def write(self, address, data):
        """Put bytes into memory."""

    def read(self, address, count):
        """Bytes of memory."""

    def write_register(self, name, value):
        """Write a register."""

    def read_register(self, name):
        """Value of a register."""

    def program(self, words):
        """Write program memory: a list of 128-bit instructions from address 0 on."""

    def start(self):
        """Start the program."""

    def run(self, cycles):
        """Let up to ``cycles`` cycles pass, fewer if the run ends; register ``status``."""

    def emitted(self):
        """Values that the program emitted since the last call."""

    def cause(self):
        """:class:`hw.register_map.Cause` of the end of the last run."""

    def counters(self):
        """Event counters of the run, by name."""
