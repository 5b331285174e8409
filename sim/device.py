"""The simulated machine as a device: the calls of a board, on the Verilated core."""

import ctypes
from dataclasses import dataclass, fields

import numpy as np

from hw import register_map as rm
from sim.build import build
from sim.timing import Timing
from sw.errors import UserError


__all__ = ["OnDieMemory", "Timing", "SimulatedDevice"]

#: Responses of memory that report an error.
RESPONSES = {"slverr": 2, "decerr": 3}
#: Handshakes that :meth:`SimulatedDevice.hang` can stop.
HANDSHAKES = ("ar", "aw", "w", "r", "b")


def bind(path):
    library = ctypes.CDLL(str(path))
    pointer, u64, u32, i32 = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int
    text = ctypes.c_char_p
    for name, result, arguments in (
        ("machine_new", pointer, [i32, u64, u64, text, i32]),
        ("machine_free", None, [pointer]),
        ("machine_memory", pointer, [pointer]),
        ("machine_array", pointer, [pointer, u64, ctypes.POINTER(text), ctypes.POINTER(u64)]),
        ("machine_cycle", u64, [pointer]),
        ("machine_problem", text, [pointer]),
        ("machine_timing", i32, [pointer, text, i32]),
        ("machine_seed", None, [pointer, u64]),
        ("machine_promise", None, [pointer, i32, i32, i32, i32]),
        ("machine_window", None, [pointer, i32, i32, u64]),
        ("machine_reset", None, [pointer]),
        ("machine_rests", None, [pointer]),
        ("machine_fail", None, [pointer, u64, i32, i32, i32]),
        ("machine_mend", None, [pointer]),
        ("machine_flip", None, [pointer, u64, u64, i32]),
        ("machine_hang", None, [pointer, i32]),
        ("machine_trace", i32, [pointer, text]),
        ("machine_run", i32, [pointer, u64]),
        ("machine_step", None, [pointer, u64]),
        ("machine_write", i32, [pointer, u32, u32]),
        ("machine_read", i32, [pointer, u32, ctypes.POINTER(u32)]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@dataclass(frozen=True)
class OnDieMemory:
    """A memory of the machine: ``words``, an array of bytes, words by bytes of a word, which shares
    them with the simulation, and ``width``, the bits of a word."""

    words: np.ndarray
    width: int

    def flip(self, word, *bits):
        """Turn over bits of a word."""
        for bit in bits:
            self.words[word, bit // 8] ^= 1 << bit % 8


class SimulatedDevice:
    """The Verilated machine of a configuration, with its memory.

    A monitor holds every cycle against the rules of AXI; :meth:`run` and :meth:`step` raise
    :class:`UserError` when one was broken.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    memory_bytes : int
        Size of the memory; pages that are never touched cost nothing.
    timing : :class:`Timing`
    seed : int
        Of all that memory and host do by chance.
    waves : path or None
        Record every signal there (FST); the simulation is slower.
    verilog : str or None
        Verilog to simulate in place of the generated one.
    library : path or None
        Shared library of a machine to take in place of one that is built, as
        :func:`sim.netlist.netlist_library` makes.
    """

    def __init__(self, config, *, memory_bytes=1 << 32, timing=None, seed=1, waves=None,
                 verilog=None, library=None):
        self.config, self.seed = config, seed
        self._library = bind(library or build(config, trace=waves is not None, verilog=verilog))
        error = ctypes.create_string_buffer(256)
        self._machine = self._library.machine_new(config.channels, memory_bytes, seed, error, 256)
        if not self._machine:
            raise UserError(f"the simulator cannot start: {error.value.decode()}")
        self.set_timing(timing or Timing())
        self._library.machine_promise(self._machine, config.burst, config.outstanding,
                                      config.words_written, config.clear_cycles)
        # The whole memory as an array that shares its bytes with the simulation.
        self.memory = np.ctypeslib.as_array(
            ctypes.cast(self._library.machine_memory(self._machine),
                        ctypes.POINTER(ctypes.c_uint8)), (memory_bytes,))
        if waves is not None:
            self._library.machine_trace(self._machine, str(waves).encode())
        if self.read_register("identity") != rm.IDENTITY:
            raise UserError("the simulated machine does not answer with its identity")
        self._open_windows()

    def _open_windows(self):
        pages = len(self.memory) // rm.PAGE
        for name, value in (("read_base", 0), ("read_limit", pages),
                            ("write_base", 0), ("write_limit", pages)):
            self.write_register(name, value)

    def reset(self):
        """Reset machine, bus and host as at the beginning; memory keeps its bytes."""
        self._library.machine_reset(self._machine)
        self._judge()
        self._open_windows()

    def close(self):
        """End the simulation, and its waves."""
        if self._machine:
            self.memory = None
            self._library.machine_trace(self._machine, None)
            self._library.machine_free(self._machine)
            self._machine = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, address, data):
        """Put bytes into memory."""
        view = np.frombuffer(data, np.uint8)
        self._check(address, len(view))
        self.memory[address:address + len(view)] = view

    load = write

    def read(self, address, count):
        """Bytes of memory."""
        self._check(address, count)
        return self.memory[address:address + count].tobytes()

    def _check(self, address, count):
        if address < 0 or address + count > len(self.memory):
            raise UserError(f"the simulated memory has {len(self.memory)} bytes; "
                            f"{count} bytes at {address} lie outside")

    def write_register(self, name, value):
        """Write a register by name."""
        response = self._library.machine_write(self._machine, rm.BY_NAME[name].offset, value)
        if response:
            raise UserError(f"the machine refused to write register {name}")
        side, _, end = name.partition("_")
        if end in ("base", "limit"):
            self._library.machine_window(self._machine, side == "write", end == "limit", value)

    def read_register(self, name):
        """Read a register by name."""
        value = ctypes.c_uint32()
        response = self._library.machine_read(self._machine, rm.BY_NAME[name].offset,
                                              ctypes.byref(value))
        if response:
            raise UserError(f"the machine refused to read register {name}")
        return value.value

    def program(self, words):
        """Write program memory: a list of 128-bit instructions."""
        if len(words) > self.config.program:
            raise UserError(f"the program has {len(words)} instructions, program memory of "
                            f"configuration {self.config} holds {self.config.program}")
        self.write_register("program_address", 0)
        for word in words:
            for quarter in range(4):
                self.write_register("program_data", word >> (32 * quarter) & 0xFFFFFFFF)

    def start(self):
        """Start the program."""
        self.write_register("control", rm.START)

    def run(self, cycles):
        """Let up to ``cycles`` cycles pass, fewer if the run ends; the status afterwards."""
        self._library.machine_run(self._machine, cycles)
        status = self.read_register("status")
        if not status & (rm.RUNNING | rm.HUNG):
            self._library.machine_rests(self._machine)
        self._judge()
        return status

    def step(self, cycles):
        """Let ``cycles`` cycles pass, whatever happens."""
        self._library.machine_step(self._machine, cycles)
        self._judge()

    def _judge(self):
        problem = self._library.machine_problem(self._machine)
        if problem:
            raise UserError(f"a rule of AXI was broken: {problem.decode()}; memory: {self.timing}, "
                            f"seed {self.seed}")

    @property
    def cycle(self):
        """Cycles since the simulation began."""
        return self._library.machine_cycle(self._machine)

    def emitted(self):
        """Values that the program emitted since the last call."""
        return [self.read_register("emitted") for _ in range(self.read_register("emitted_count"))]

    def cause(self):
        """Why the last run ended."""
        return rm.Cause(self.read_register("cause"))

    def counters(self):
        """Event counters of the run, by name."""
        return {name: self.read_register(f"{name}_low")
                | self.read_register(f"{name}_high") << 32 for name, _ in rm.COUNTERS}

    def set_timing(self, timing):
        """From now on memory behaves like this."""
        self.timing = timing
        for field in fields(timing):
            known = self._library.machine_timing(self._machine, field.name.encode(),
                                                 getattr(timing, field.name))
            assert known, f"the harness has no parameter {field.name}"

    def set_seed(self, seed):
        """From here on chance is that of this seed."""
        self.seed = seed
        self._library.machine_seed(self._machine, seed)

    def fail_at(self, address, response="slverr", *, reads=True, writes=True):
        """Answer transfers of the word at ``address`` with an error too (None: of none, and no
        bit that was to flip does).

        ``response`` is ``slverr`` or ``decerr``.
        """
        if address is None:
            self._library.machine_mend(self._machine)
        else:
            self._library.machine_fail(self._machine, address, RESPONSES[response], reads, writes)

    def flip_at(self, cycle, address, bit):
        """Turn a bit of memory over when the cycle comes."""
        self._library.machine_flip(self._machine, cycle, address, bit)

    def on_die(self):
        """All memories on the die, by their names in the machine: :class:`OnDieMemory`."""
        found, name, shape = {}, ctypes.c_char_p(), (ctypes.c_uint64 * 3)()
        while first := self._library.machine_array(self._machine, len(found), ctypes.byref(name),
                                                   shape):
            depth, size, width = shape
            array = np.ctypeslib.as_array(ctypes.cast(first, ctypes.POINTER(ctypes.c_uint8)),
                                          (depth, size))
            found[name.value.decode()] = OnDieMemory(array, width)
        return found

    def hang(self, *handshakes):
        """From now on memory stops these handshakes of all channels: READY of ``ar``, ``aw``,
        ``w``, new data on ``r``, new responses on ``b``. None: it goes on with all.
        """
        self._library.machine_hang(self._machine, sum(1 << HANDSHAKES.index(one)
                                                      for one in set(handshakes)))
