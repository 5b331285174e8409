"""Agents of the emulator: the sequencer, and a unit with its queue."""

from collections import deque

from hw import isa
from hw import register_map as rm
from hw.legality import legal

from .units import UNITS


__all__ = ["Control", "Unit"]

MASK = 0xFFFFFFFF


class Unit:
    """A unit that executes its queue in order.

    Parameters
    ----------
    machine : :class:`sw.runtime.emulator.Emulator`
    name : str
    """

    def __init__(self, machine, name):
        self.machine, self.name = machine, name
        self.queue = deque()
        self.forget()

    def forget(self):
        """Drop all commands, also the one that is under way."""
        self.queue.clear()
        self.work = self.wanted = self.current = None

    def put(self, name, fields):
        """Take a command; False if the queue is full."""
        # An attend that was begun beside another one has left the machine's queue.
        begun = len(self.machine.attending) if self.name == "matmul" else 0
        if len(self.queue) - begun >= self.machine.config.queue:
            return False
        self.queue.append((name, fields))
        return True

    @property
    def next(self):
        """Name of the command that waits first, or None."""
        return self.queue[0][0] if self.queue else None

    @property
    def resting(self):
        """Whether there is nothing to do."""
        return self.work is None and not self.queue

    def _ready(self):
        """Whether :meth:`step` would do something."""
        if self.work is None:
            return bool(self.queue)
        if callable(self.wanted):
            return self.wanted()
        return not self.wanted or self.machine.semaphores[self.wanted] > 0

    def step(self):
        """Begin a command, or go on with it up to what it needs next; whether anything moved."""
        if not self._ready():
            return False
        if self.work is None:
            self.current, fields = self.queue.popleft()
            self.work = UNITS[self.current](self.machine, fields)
        elif self.wanted and not callable(self.wanted):
            self.machine.semaphores[self.wanted] -= 1
        try:
            self.wanted = next(self.work)
        except StopIteration:
            self.work = self.wanted = self.current = None
        return True

    def describe(self):
        """What the unit waits for."""
        if self.resting:
            return f"{self.name}: rests"
        wanted = ("data" if callable(self.wanted) else f"counter {self.wanted}"
                  if self.wanted else "nothing")
        return (f"{self.name}: {self.current} waits for {wanted}, then "
                f"{', '.join(name for name, _ in self.queue) or 'nothing'}")


class Control:
    """The sequencer: executes control instructions, and dispatches all others.

    Parameters
    ----------
    machine : :class:`sw.runtime.emulator.Emulator`
    """

    def __init__(self, machine):
        self.machine = machine
        self.pc = 0
        self.registers = [0] * isa.REGISTERS
        self.decoded = {}

    def _instruction(self):
        """Name and fields of the instruction at hand, or None if it is illegal."""
        machine = self.machine
        if self.pc not in self.decoded:
            word = machine.words[self.pc] if self.pc < len(machine.words) else 0
            try:
                decoded = isa.decode(word)
            except ValueError:
                decoded = None
            if decoded is not None and not legal(*decoded, machine.config):
                decoded = None
            self.decoded[self.pc] = decoded
        return self.decoded[self.pc]

    def step(self):
        """Execute an instruction; False if it has to wait."""
        machine, decoded = self.machine, self._instruction()
        if decoded is None:
            machine.end(rm.Cause.ILLEGAL)
            return True
        name, f = decoded
        if isa.BY_NAME[name].unit == "control":
            done = self._execute(name, f)
        else:
            address = f.get("base", 0) + self.registers[f.get("offset", 0)] & MASK
            done = machine.dispatch(name, f, address, self.registers[f.get("count", 0)])
            self.pc += done
        machine.events["instructions"] = machine.events.get("instructions", 0) + done
        return done

    def _execute(self, name, f):
        """A control instruction; False if it has to wait."""
        machine, registers = self.machine, self.registers
        a, b = registers[f.get("ra", 0)], registers[f.get("rb", 0)]
        result = None
        if name in ("stop", "sync") and not machine.resting:
            return False
        if name == "stop":
            machine.end()
            return True
        if name == "set":
            result = f["imm"]
        elif name == "add":
            result = a + b + f["imm"]
        elif name == "mul":
            result = a * f["imm"]
        elif name == "branch":
            met = {"eq": a == b, "ne": a != b, "lt": a < b, "ge": a >= b}[f["condition"]]
            self.pc = f["target"] if met else self.pc + 1
            return True
        elif name == "wait":
            source = {"token": machine.tokens, "load": machine.loaded}.get(f["source"])
            if source is None:
                result = machine.events.get("instructions", 0)
            elif not source:
                return False
            else:
                result = source.popleft()
        elif name == "emit":
            if len(machine.out) >= machine.most_emitted:
                return False
            machine.out.append(a)
        elif name == "raise":
            if f["counter"]:
                machine.semaphores[f["counter"]] += f["count"]
        elif name == "flush":
            machine.flush(f["w"], f["d"])
        elif name == "paging":
            machine.table = f["base"] + registers[f["offset"]] & MASK, f["entries"]
        elif name == "pin":
            if not machine.cache.pin(f["slot"], f["base"] + registers[f["offset"]] & MASK,
                                     f["lines"], f["place"], bool(f["preload"])):
                machine.end(rm.Cause.RANGE)
                return True
        elif name == "drop":
            machine.cache.drop(f["slot"])
        if result is not None and f["rd"]:
            registers[f["rd"]] = result & MASK
        self.pc += 1
        return True

    def describe(self):
        """What the sequencer is at."""
        decoded = self._instruction()
        return f"sequencer: at {self.pc}, {decoded[0] if decoded else 'illegal'}"
