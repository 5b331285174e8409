"""The machine in numpy: executes programs on a memory image, bit for bit as the hardware does.

There are no cycles. The units and the sequencer take steps in turn, or in an order drawn at random:
a program whose result depends on the order has a race, and one in which nobody can take a step has
a deadlock, which :meth:`Emulator.diagnosis` describes.
"""

from collections import deque
from types import SimpleNamespace

import numpy as np

from hw import isa
from hw import register_map as rm
from sw.errors import UserError
from verif.reference.cache import Cache
from verif.reference.tape import unpack

from .control import Control, Unit
from .fault import Fault


__all__ = ["Emulator"]

#: Emitted values that wait for the host.
EMITTED = 64
BLOCK = 32


class Emulator:
    """A device that computes with the reference functions.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    memory_bytes : int
    order : int or None
        Seed of a random order of steps; None for a fixed order.
    """

    def __init__(self, config, *, memory_bytes=1 << 26, order=None):
        self.config = config
        self.rng = np.random.default_rng(order)
        self.random = order is not None
        self.memory = self.rng.integers(0, 256, memory_bytes, np.uint8)
        self.words = []
        self.most_emitted = EMITTED
        self.passes = 0
        self.registers = {register.name: 0 for register in rm.REGISTERS}
        pages = memory_bytes // rm.PAGE
        self.registers.update(identity=rm.IDENTITY, version=rm.VERSION, hash=config.hash,
                              read_limit=pages, write_limit=pages)
        self.out = deque()
        self.reset()

    # What a host does.

    def write(self, address, data):
        """Put bytes into memory."""
        view = np.frombuffer(data, np.uint8)
        self._check(address, len(view))
        self.memory[address:address + len(view)] = view
        self.matrices.clear()

    load = write

    def read(self, address, count):
        """Bytes of memory."""
        self._check(address, count)
        return self.memory[address:address + count].tobytes()

    def _check(self, address, count):
        if address < 0 or address + count > len(self.memory):
            raise UserError(f"the emulated memory has {len(self.memory)} bytes; {count} bytes at "
                            f"{address} lie outside")

    def write_register(self, name, value):
        """Write a register."""
        if name == "control":
            if value & rm.START:
                self.reset()
                self.status = rm.RUNNING
            if value & rm.ABORT and self.status == rm.RUNNING:
                self.end(rm.Cause.ABORTED)
        elif rm.BY_NAME[name].access != "rw" or self.status == rm.RUNNING:
            raise UserError(f"the machine refused to write register {name}")
        else:
            self.registers[name] = value

    def read_register(self, name):
        """Value of a register."""
        if name == "emitted":
            return self.out.popleft() if self.out else 0
        known = {"status": self.status, "cause": int(self.fault), "pc": self.control.pc,
                 "fault_low": self.fault_address & 0xFFFFFFFF,
                 "fault_high": self.fault_address >> 32, "emitted_count": len(self.out)}
        for counter, _ in rm.COUNTERS:
            value = self.counters()[counter]
            known |= {f"{counter}_low": value & 0xFFFFFFFF, f"{counter}_high": value >> 32}
        return known.get(name, self.registers[name])

    def program(self, words):
        """Write program memory."""
        if len(words) > self.config.program:
            raise UserError(f"the program has {len(words)} instructions, program memory of "
                            f"configuration {self.config} holds {self.config.program}")
        self.words = list(words)

    def start(self):
        """Start the program."""
        self.write_register("control", rm.START)

    def emitted(self):
        """Values that the program emitted since the last call."""
        values = list(self.out)
        self.out.clear()
        return values

    def cause(self):
        """Why the last run ended."""
        return self.fault

    def counters(self):
        """Words of the streams, what the cache does, and instructions; cycles, and what the mover
        moves, stay zero. A machine in which reads overtake each other misses a little more, and
        so does one with ``ecc`` behind writes of a few bytes."""
        cache = self.cache
        known = {**self.events, "hits": cache.hits, "misses": cache.misses, "fills": cache.fills}
        return {name: known.get(name, 0) for name, _ in rm.COUNTERS}

    # The run.

    def reset(self):
        """No state survives from one run into the next."""
        config = self.config
        self.status, self.fault, self.fault_address = 0, rm.Cause.NONE, 0
        self.out.clear()
        self.events, self.semaphores = {}, [0] * isa.COUNTERS
        self.matrices = {}
        self.workspace = np.full((config.blocks, BLOCK), np.nan, np.float32)
        self.act = self.rng.integers(0, 256, (config.columns, config.act_blocks, BLOCK), np.uint8)
        self.codes = np.full((config.columns, config.act_blocks), 255, np.uint8)
        self.staging = np.zeros((config.kv_staging, BLOCK), np.uint8)
        self.staging_codes = np.full(config.kv_staging, 255, np.uint8)
        self.w_ready, self.d_fifo = deque(), deque()
        self.sums, self.tokens, self.loaded = deque(), deque(), deque()
        self.candidates = []
        # Values of which the keys were read; attends that have their queries; lists for walks.
        self.owed, self.attending, self.choices = deque(), deque(), deque()
        #: Line and entries of the block table.
        self.table = 0, 0
        self.cache = Cache(config)
        self.seed = self.registers["seed_low"] | self.registers["seed_high"] << 32
        # The two streams are two in-order units behind the queue of one.
        self.units = {name: Unit(self, name) for name in ("matmul", "vector", "mover", "w", "d")}
        self.control = Control(self)

    def run(self, steps):
        """Take up to ``steps`` steps, fewer if the run ends; the status afterwards.

        A run in which nobody can take a step, but for waiting until the host takes what was
        emitted, ends with cause ``WATCHDOG``.
        """
        try:
            while steps > 0 and self.status == rm.RUNNING:
                # Only a pass in which everybody was asked can find a deadlock.
                moved = self._pass(self.random) or self._pass(False)
                steps -= max(moved, 1)
                if not moved and self.status == rm.RUNNING:
                    if len(self.out) >= EMITTED:
                        break
                    self.end(rm.Cause.WATCHDOG)
        except Fault as fault:
            self.end(fault.cause, fault.address)
        return self.status

    def _pass(self, random):
        """Offer a step to everybody, or in random order to some; how many moved."""
        agents = [self.control, *self.units.values()]
        if random:
            if self.passes % 64 == 0:
                self.eagerness = self.rng.choice([0.05, 0.5, 1.0], len(agents))
            self.passes += 1
            chosen = self.rng.permutation(len(agents))
            agents = [agents[n] for n in chosen if self.rng.random() < self.eagerness[n]]
        moved = 0
        for agent in agents:
            if self.status == rm.RUNNING:
                moved += agent.step()
        return moved

    def end(self, cause=rm.Cause.NONE, address=0):
        """End the run."""
        self.fault, self.fault_address = cause, address
        self.status = rm.DONE | (rm.FAULT if cause else 0)

    def diagnosis(self):
        """Who waits for what, as text."""
        agents = [self.control, *self.units.values()]
        return "\n".join(agent.describe() for agent in agents)

    # What units use.

    def raise_counter(self, number):
        """Add one to a counter; 0 is none."""
        if number:
            self.semaphores[number] += 1

    def count(self, event, address, size):
        """Count the words of memory of a stream's read of ``size`` bytes."""
        words = size // self.config.word_bytes
        if self.cache.ranges:
            words = sum(words for _, words in self.cache.read(address, words))
        self.events[event] = self.events.get(event, 0) + words

    def check_read(self, address, size):
        """Fault unless the host's window allows the read."""
        self._check_window(address, size, "read", rm.Cause.READ_WINDOW)

    def check_write(self, address, size):
        """Fault unless the host's window allows the write."""
        self._check_window(address, size, "write", rm.Cause.WRITE_WINDOW)

    def _check_window(self, address, size, kind, cause):
        low, high = (rm.PAGE * self.registers[f"{kind}_{end}"] for end in ("base", "limit"))
        if not low <= address <= address + size <= min(high, len(self.memory)):
            raise Fault(cause, address)

    def read_memory(self, address, size):
        """Bytes that a unit reads, as an array."""
        self.check_read(address, size)
        return self.memory[address:address + size]

    def write_memory(self, address, data):
        """Bytes that a unit writes."""
        self.check_write(address, len(data))
        self.memory[address:address + len(data)] = data

    def d_room(self, beats):
        """Whether the D stream may read ``beats`` more; a FIFO always has room for one block."""
        held = sum(len(part.raw) for part in self.d_fifo)
        return not held or held + beats * self.config.beat_bytes <= self.config.d_fifo

    def w_beats(self):
        """Beats that the W stream will deliver."""
        return sum(beats for _, beats in self.w_ready)

    def take_matrix(self, beats, shape, format, tiles):
        """Weights, scales and factor of the next ``beats`` of the W stream."""
        address, left = self.w_ready[0]
        if beats > left:
            raise Fault(rm.Cause.ILLEGAL, address)
        size = beats * self.config.beat_bytes
        if beats == left:
            self.w_ready.popleft()
        else:
            self.w_ready[0] = [address + size, left - beats]
        key = address, shape, format, tiles
        if key not in self.matrices:
            self.matrices[key] = unpack(self.memory[address:address + size].tobytes(), shape,
                                        format, self.config.slices, tiles)
        return self.matrices[key]

    def dispatch(self, name, values, address, count):
        """Give a command to its unit; False if its queue is full."""
        unit = isa.BY_NAME[name].unit
        if unit == "fetch":
            unit = "w" if name == "stream" and values["stream"] == "w" else "d"
        fields = SimpleNamespace(**{**values, "address": address, "count": count,
                                    "table": self.table})
        return self.units[unit].put(name, fields)

    @property
    def resting(self):
        """Whether matmul, vector and mover have nothing to do."""
        return all(self.units[name].resting for name in ("matmul", "vector", "mover"))

    def flush(self, w, d):
        """Discard what the streams hold and have queued."""
        for flag, name, held in ((w, "w", self.w_ready), (d, "d", self.d_fifo)):
            if flag:
                held.clear()
                self.units[name].forget()
        if d:
            self.owed.clear()
