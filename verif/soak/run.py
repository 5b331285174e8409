"""Runs random programs on the simulated machine, and looks at everything afterwards.

A legal program must give what the emulator gives, in windows that hold what it needs and no page
more, and also beside troubles if the machine says that all went well. Any other one must end, with
a cause that its troubles allow, leave memory outside of its window alone, and leave nothing behind:
a program that uses all units, and is run next, gives what it always gives.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from hw import register_map as rm
from sim.device import SimulatedDevice
from sim.timing import Timing
from sw.errors import UserError

from .image import MEMORY, Image
from .mutate import mutate, random_timing, trouble
from .program import Program
from .wanted import WINDOWS, Oracle


__all__ = ["Failure", "Soak"]

WATCHDOG = 4000
#: Cycles in which a program that ends does so, and of a halt.
LONGEST, HALT = 60_000, 4 * WATCHDOG


class Failure(Exception):
    """The machine did something that it must not do."""


class Soak:
    """A machine that runs one random program after the other.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    verilog : str or None
        In place of the generated one.
    """

    def __init__(self, config, verilog=None):
        self.config = config
        self.image = Image(config)
        self.device = SimulatedDevice(config, memory_bytes=MEMORY, verilog=verilog)
        self.oracle = Oracle(self.image)
        self.good = Program(np.random.default_rng(7), self.image).write_all()
        self.wanted = self.oracle.wanted(self.good)
        self.tally = Counter()

    def close(self):
        self.device.close()

    def prepare(self, timing, windows=()):
        """Everything as a program expects it."""
        device = self.device
        device.hang()
        device.fail_at(None)
        device.set_timing(timing)
        device.memory[:] = self.image.bytes
        for name, value in {**WINDOWS, "watchdog": WATCHDOG, "seed_low": 0, "seed_high": 0,
                            **dict(windows)}.items():
            device.write_register(name, value)

    #: Whether the machine was reset in this run.
    is_new = False

    def execute(self, words, longest=LONGEST, act=None):
        """Status of a run, and what it emitted; ``act(cycle)`` is called all the time."""
        device, emitted, status = self.device, [], rm.RUNNING
        device.program(words)
        device.start()
        self.is_new = False
        begin = device.cycle
        while status & rm.RUNNING and device.cycle - begin < longest:
            status = device.run(act(device.cycle - begin) if act else 1000)
            if self.is_new:
                break
            # A host that forgets values that were emitted is ended by the watchdog.
            emitted += device.emitted()
        return status, emitted

    def check_good(self, timing):
        """The machine is as new."""
        self.prepare(timing)
        status, emitted = self.execute(self.good, 20 * LONGEST)
        self.compare(status, emitted, self.wanted, "the program after it")

    def compare(self, status, emitted, wanted, what):
        device = self.device
        if status != rm.DONE:
            raise Failure(f"{what} ended with status {status}, {device.cause().name} at "
                          f"{device.read_register('pc')}")
        if emitted != wanted.emitted:
            raise Failure(f"{what} emitted {emitted}, not {wanted.emitted}")
        wrong = np.flatnonzero(device.memory != wanted.memory)
        if len(wrong):
            raise Failure(f"{what} left {len(wrong)} bytes of memory wrong, the first at "
                          f"{wrong[0]:#x}")

    def legal(self, rng):
        """A legal program on unkind memory."""
        words = Program(rng, self.image).write(int(rng.integers(2, 10)))
        wanted = self.oracle.wanted(words)
        self.prepare(random_timing(rng), wanted.windows)
        status, emitted = self.execute(words, 20 * LONGEST)
        self.compare(status, emitted, wanted, "the program")
        return words, "legal"

    def wrong(self, rng):
        """A program with mistakes, or troubles beside it, or both."""
        words = Program(rng, self.image).write(int(rng.integers(1, 6)))
        wanted = self.oracle.wanted(words)
        beside = trouble(rng, 8000, wanted)
        if not beside.notes or rng.random() < 0.5:
            words, wanted = mutate(rng, words, beside), None
        self.words, self.notes, self.rng = words, beside.notes, rng
        self.prepare(replace(random_timing(rng), **beside.timing), beside.windows)
        word = self.config.data_bits // 8
        for address, response, reads, writes in beside.errors:
            self.device.fail_at(address // word * word, response, reads=reads, writes=writes)
        for cycle, address, bit in beside.flips:
            self.device.flip_at(self.device.cycle + cycle, address, bit)
        status, emitted = self.execute(words, act=lambda cycle: self.act(beside, cycle))
        if status & rm.RUNNING:
            # It loops, or is at something long.
            beside.abort = LONGEST
            self.device.write_register("control", rm.ABORT)
            begin = self.device.cycle
            while status & rm.RUNNING and self.device.cycle - begin < HALT:
                status = self.device.run(1000)
        if beside.reset is not None and self.is_new:
            return words, "reset"
        self.judge(status, beside)
        if status == rm.DONE and wanted and not beside.flips:
            # A host that meddles takes values away.
            self.compare(status, wanted.emitted if beside.meddles else emitted, wanted,
                         "the program that saw no fault")
        return words, self.device.cause().name

    def act(self, beside, cycle):
        """Do what is due, and say how long nothing is."""
        moments = []
        if beside.meddles and not self.is_new:
            self.meddle()
        if beside.reset is not None:
            if cycle >= beside.reset and not self.is_new:
                self.device.reset()
                self.is_new = True
            elif not self.is_new:
                moments.append(beside.reset)
        if beside.hang is not None:
            if cycle >= beside.hang:
                self.device.hang(*beside.handshakes)
            else:
                moments.append(beside.hang)
        if beside.abort is not None:
            if cycle >= beside.abort:
                self.device.write_register("control", rm.ABORT)
            else:
                moments.append(beside.abort)
        return max(1, min([1000, *(moment - cycle for moment in moments)]))

    def meddle(self):
        """What a host may try while a program runs: nothing of it changes the run."""
        device, names = self.device, [register.name for register in rm.REGISTERS]
        if not device.read_register("status") & rm.RUNNING:
            return
        device.run(int(self.rng.integers(1, 200)))
        for _ in range(self.rng.integers(1, 4)):
            name = str(self.rng.choice(names))
            if rm.BY_NAME[name].access != "wo":
                device.read_register(name)
            if name == "control":
                device.write_register(name, rm.START)
            elif device.read_register("status") & rm.RUNNING:
                try:
                    device.write_register(name, int(self.rng.integers(2**32)))
                except UserError:
                    continue
                if device.read_register("status") & rm.RUNNING:
                    raise Failure(f"register {name} was written during a run")

    def judge(self, status, beside):
        """The end of a wrong run is one that its troubles allow."""
        device, cause = self.device, self.device.cause()
        if not status & rm.DONE or status & rm.RUNNING:
            raise Failure(f"the run does not end: status {status}")
        if bool(status & rm.FAULT) != (cause != rm.Cause.NONE):
            raise Failure(f"status {status} with cause {cause.name}")
        allowed = {
            rm.Cause.READ_BUS: beside.bus_errors, rm.Cause.WRITE_BUS: beside.bus_errors,
            rm.Cause.ABORTED: beside.abort is not None,
            rm.Cause.HUNG: beside.hang is not None,
        }
        if not allowed.get(cause, True):
            raise Failure(f"the cause is {cause.name}, which nothing gave a reason for")
        if status & rm.HUNG:
            if beside.hang is None:
                raise Failure("the bus hangs, but memory answers")
            device.hang()
            device.set_timing(Timing())
            device.step(2000)
            if device.run(0) & rm.HUNG:
                raise Failure("the bus does not come back")
        low, high = WINDOWS["write_base"] * rm.PAGE, WINDOWS["write_limit"] * rm.PAGE
        outside = np.r_[0:low, high:MEMORY]
        changed = set(outside[device.memory[outside] != self.image.bytes[outside]])
        if changed - {address for _, address, _ in beside.flips}:
            raise Failure(f"memory outside of the window was written, at {min(changed):#x}")

    def run(self, seed):
        """One random program, by its seed, and the good one behind it."""
        rng = np.random.default_rng([seed, 1])
        self.device.set_seed(seed)
        self.words, self.notes = [], []
        try:
            self.words, outcome = self.legal(rng) if rng.random() < 0.25 else self.wrong(rng)
            self.check_good(random_timing(rng) if rng.random() < 0.2 else Timing(latency=8))
        except (Failure, UserError, ValueError) as error:
            raise Failure(f"seed {seed} ({', '.join(self.notes) or 'legal'}; memory: "
                          f"{self.device.timing}): {error}\nrun it again with: python -m "
                          f"verif.soak --config {self.config} --channels "
                          f"{self.config.channels} --seed {seed}") from None
        self.tally[outcome] += 1
