"""The simulated machine as a device: the calls of a board, on the Verilated core."""

import ctypes
from dataclasses import dataclass

import numpy as np

from hw import register_map as rm
from sim.build import build
from sw.errors import UserError


__all__ = ["Timing", "SimulatedDevice"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the simulated memory does; times in cycles.

    Parameters
    ----------
    latency : int
        From an address to its first data, and from data to the write response.
    refresh_every, refresh_for : int
        Nothing is transferred in ``refresh_for`` cycles of each ``refresh_every``.
    stall_per_256 : int
        Chance, in 256ths, that a channel transfers nothing in a cycle.
    rate_num, rate_den : int
        Transfers a cycle and channel, as a fraction of at most 1.
    """

    latency: int = 60
    refresh_every: int = 0
    refresh_for: int = 0
    stall_per_256: int = 0
    rate_num: int = 1
    rate_den: int = 1


def bind(path):
    library = ctypes.CDLL(str(path))
    pointer, u64, u32, i32 = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int
    text = ctypes.c_char_p
    for name, result, arguments in (
        ("machine_new", pointer, [i32, u64, u64, text, i32]),
        ("machine_free", None, [pointer]),
        ("machine_memory", pointer, [pointer]),
        ("machine_cycle", u64, [pointer]),
        ("machine_problem", text, [pointer]),
        ("machine_timing", None, [pointer] + [i32] * 6),
        ("machine_error_at", None, [pointer, u64]),
        ("machine_trace", i32, [pointer, text]),
        ("machine_run", i32, [pointer, u64]),
        ("machine_step", None, [pointer, u64]),
        ("machine_write", i32, [pointer, u32, u32]),
        ("machine_read", i32, [pointer, u32, ctypes.POINTER(u32)]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class SimulatedDevice:
    """The Verilated machine of a configuration, with its memory.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    memory_bytes : int
        Size of the memory; pages that are never touched cost nothing.
    timing : :class:`Timing`
    seed : int
        Of the memory's random stalls.
    waves : path or None
        Record every signal there (FST); the simulation is slower.
    verilog : str or None
        Verilog to simulate in place of the generated one.
    """

    def __init__(self, config, *, memory_bytes=1 << 32, timing=None, seed=1, waves=None,
                 verilog=None):
        self.config = config
        self._library = bind(build(config, trace=waves is not None, verilog=verilog))
        error = ctypes.create_string_buffer(256)
        self._machine = self._library.machine_new(config.channels, memory_bytes, seed, error, 256)
        if not self._machine:
            raise UserError(f"the simulator cannot start: {error.value.decode()}")
        timing = timing or Timing()
        self._library.machine_timing(self._machine, timing.latency, timing.refresh_every,
                                     timing.refresh_for, timing.stall_per_256, timing.rate_num,
                                     timing.rate_den)
        # The whole memory as an array that shares its bytes with the simulation.
        self.memory = np.ctypeslib.as_array(
            ctypes.cast(self._library.machine_memory(self._machine),
                        ctypes.POINTER(ctypes.c_uint8)), (memory_bytes,))
        if waves is not None:
            self._library.machine_trace(self._machine, str(waves).encode())
        if self.read_register("identity") != rm.IDENTITY:
            raise UserError("the simulated machine does not answer with its identity")
        pages = memory_bytes // rm.PAGE
        for name, value in (("read_base", 0), ("read_limit", pages),
                            ("write_base", 0), ("write_limit", pages)):
            self.write_register(name, value)

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
        problem = self._library.machine_problem(self._machine)
        if problem:
            raise UserError(f"the machine broke the rules of AXI: {problem.decode()}")
        return self.read_register("status")

    def step(self, cycles):
        """Let ``cycles`` cycles pass, whatever happens."""
        self._library.machine_step(self._machine, cycles)

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

    def fail_at(self, address):
        """Answer transfers of the word at ``address`` with a bus error (None: of no word)."""
        self._library.machine_error_at(self._machine, 2**64 - 1 if address is None else address)
