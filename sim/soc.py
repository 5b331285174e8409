"""The simulated system of a board at a pseudo-terminal: what a host sees of a board at its port."""

import ctypes
import os
import threading
import tty
from random import Random

from fpga.check import CHECK_CONFIG, Check
from fpga.link.bit_timer import bit_period
from fpga.memory.ram import Ram
from fpga.memory.sdram import Sdram
from fpga.memory.sdram_chip import CHIPS
from fpga.soc import Soc
from hw.verilog import convert

from .build import kept, library_of


__all__ = ["SimulatedBoard"]

#: What the board tells of its clock: slower than the simulation is on most machines, also when
#: these have more to do, so that a host is patient enough.
CLOCK_HZ, BAUD = 20_000, 5_000

#: The SDRAM takes as many cycles as at this clock.
SDRAM_HZ = 50_000_000

#: Cycles between two looks at the terminal: a byte on the line takes 40.
SLICE = 400


def soc_library(config, chip, memory_bytes, sdram_hz):
    """Path of the library of the system; built if it does not exist."""
    buses = config or CHECK_CONFIG

    def verilog():
        memory = Ram(buses, memory_bytes) if chip is None else Sdram(buses, chip, sdram_hz)
        rates = dict(clock_hz=CLOCK_HZ, baud=BAUD)
        return convert(Soc(config, memory, **rates) if config else Check(memory, **rates), "soc")

    facts = repr((config, chip, memory_bytes, CLOCK_HZ, BAUD, sdram_hz))
    text = kept(f"soc-{buses.name}", facts, ["hw", "fpga"], verilog)
    return library_of(f"soc-{buses.name}", text, top="soc", harness="soc.cpp")


def bind(path):
    library = ctypes.CDLL(str(path))
    pointer, u64 = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("soc_new", pointer, [ctypes.c_int64, *5 * [ctypes.c_int]]),
        ("soc_free", None, [pointer]),
        ("soc_cycle", u64, [pointer]),
        ("soc_send", None, [pointer, ctypes.c_char_p, u64]),
        ("soc_run", None, [pointer, u64]),
        ("soc_take", u64, [pointer, ctypes.c_char_p, u64]),
        ("soc_write", ctypes.c_int, [pointer, u64, ctypes.c_char_p, u64]),
        ("soc_read", ctypes.c_int, [pointer, u64, ctypes.c_char_p, u64]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class SimulatedBoard:
    """A board that is simulated, bit by bit of its serial line, in a thread of its own.

    Parameters
    ----------
    config : :class:`hw.config.Config` or None
        None: the check design, which has no machine.
    memory_bytes : int or None
        On-chip memory, rounded up to a power of two; None: SDRAM.
    chip : str
        Which one, a key of :data:`fpga.memory.sdram_chip.CHIPS`.
    sdram_hz : int
        The clock at which its times are counted.
    loss : float
        Chance that a byte is lost on the line, in either direction; as often it is another one.
    seed : int
        Of what happens to bytes.

    Members
    -------
    port : str
        Name of the pseudo-terminal.
    cycle : int
    spoiled : int
        Bytes that were lost or changed.
    """

    def __init__(self, config, *, memory_bytes=None, chip="ulx3s", sdram_hz=SDRAM_HZ,
                 loss=0.0, seed=1):
        shape = [0] * 5
        if memory_bytes is None:
            chip = CHIPS[chip]
            shape = [chip.pins, chip.bank_bits, chip.row_bits, chip.column_bits, chip.cas]
        else:
            chip = None
            memory_bytes = 1 << max(12, (memory_bytes - 1).bit_length())
        self._library = bind(soc_library(config, chip, memory_bytes, sdram_hz))
        self._soc = self._library.soc_new(bit_period(CLOCK_HZ, BAUD), *shape)
        self.loss, self.spoiled, self._rng = loss, 0, Random(seed)
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.port = os.ttyname(self._theirs)
        self._ending, self._turn = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def cycle(self):
        """Cycles since the simulation began."""
        return self._library.soc_cycle(self._soc)

    def write(self, address, data):
        """Put bytes into the SDRAM at once, which over the line would take long."""
        self._access(self._library.soc_write, address, bytes(data), len(data))

    def read(self, address, count):
        """Bytes of the SDRAM."""
        buffer = ctypes.create_string_buffer(count)
        self._access(self._library.soc_read, address, buffer, count)
        return buffer.raw

    def _access(self, function, address, *arguments):
        with self._turn:
            if not function(self._soc, address, *arguments):
                raise ValueError(f"{arguments[-1]} bytes at {address} do not lie in an SDRAM")

    def close(self):
        """End the simulation."""
        self._ending.set()
        self._thread.join()
        os.close(self._ours)
        os.close(self._theirs)
        self._library.soc_free(self._soc)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _work(self):
        library, soc, buffer = self._library, self._soc, ctypes.create_string_buffer(4096)
        outgoing = b""
        while not self._ending.is_set():
            try:
                incoming = self._spoil(os.read(self._ours, 4096))
                library.soc_send(soc, incoming, len(incoming))
            except BlockingIOError:
                pass
            with self._turn:
                library.soc_run(soc, SLICE)
            count = library.soc_take(soc, buffer, len(buffer))
            outgoing += self._spoil(buffer.raw[:count])
            if outgoing:
                try:
                    outgoing = outgoing[os.write(self._ours, outgoing):]
                except BlockingIOError:
                    pass

    def _spoil(self, data):
        """What of some bytes arrives."""
        if not self.loss:
            return data
        result = bytearray()
        for byte in data:
            chance = self._rng.random()
            if chance > 1 - self.loss:
                result.append(self._rng.randrange(256))
            elif chance >= self.loss:
                result.append(byte)
            self.spoiled += not self.loss <= chance <= 1 - self.loss
        return bytes(result)
