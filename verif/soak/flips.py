"""Inverts bits of the memories on the die while programs run, and sees what comes of it.

A run begins with memories on the die as they are after power-up, and a program that is loaded anew.
So it depends on its :class:`Flip` alone, and can be repeated. After some runs the same program runs
again, with nothing more than a host does between two programs, and must give what it always gives.
"""

import copy
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from hw import register_map as rm
from sim.timing import Timing
from sw.errors import UserError

from .program import Program
from .run import HALT, WATCHDOG, Failure, Soak
from .wanted import Wanted


__all__ = ["Campaign", "Flip", "GROUPS", "OUTCOMES", "PROTECTED"]

#: What memories are counted together: what their names begin with. Tables of constants are none.
GROUPS = {
    "program": r"core\.sequencer\.memory",
    "workspace": r"core\.workspace\.",
    "cache": r"core\.dma\.cache\.sram\.",
    "valid": r"core\.dma\.cache\.lookup\.valid_",
    "activations": r"core\.matmul\.array\..*\.(act|codes|shifts)$",
    "sums": r"core\.matmul\.array\..*accumulator",
    "streams": r"core\.dma\.[wd]_reader\.|core\.matmul\.(key_)?replay\.",
    "staging": r"core\.dma\.mover\.staging\.",
    "others": r"(?!.*\.quadratic\.)",
}
#: Groups that are protected if the configuration has ``ecc``, and against how many wrong bits of a
#: word; of those that have check bits, one is corrected.
PROTECTED = {"program": 2, "workspace": 2, "cache": 2, "valid": 2}
#: In the order in which they are asked: the same result and nothing counted; the same result and
#: corrections counted; stopped with a cause; another result without one; no end; a bus that does
#: what it must not.
OUTCOMES = ("masked", "corrected", "detected", "silent", "hang", "rule")

#: Values that a program may emit, which nobody takes before its end; and its cycles.
MOST_EMITTED, MOST_CYCLES = 60, 4000
#: A clean run follows each so many flips.
CHECK_EVERY = 8
TIMING = Timing(latency=20)


class ShortProgram(Program):
    """A few steps around products with one matrix, which a machine with a cache pins: what lies in
    the cache is read."""

    def __init__(self, rng, image):
        image = copy.copy(image)
        small = sorted(image.matrices, key=lambda matrix: matrix.beats)[:len(image.matrices) // 2]
        image.matrices = [small[int(rng.integers(len(small)))]]
        super().__init__(rng, image)

    def pin(self):
        matrix = self.image.matrices[0]
        self.hold(matrix.line, matrix.lines(self.config), self.flag())

    def write(self):
        kinds = [self.vector, self.vector, self.vector, self.control, self.loop, self.scatter,
                 self.pick, self.load, self.reuse]
        if self.config.cache:
            self.pin()
        self.quantise_and_multiply()
        if self.flag():
            self.attention()
        for _ in range(self.number(1, 3)):
            kinds[self.number(0, len(kinds) - 1)]()
        self.quantise_and_multiply()
        return self.end()


@dataclass(frozen=True)
class Flip:
    """``bits`` of ``word`` of ``memory`` are inverted in a cycle of a program."""

    program: int
    memory: str
    word: int
    bits: tuple
    cycle: int


@dataclass
class Known:
    """A program: what it gives, its cycles, and the words of each memory that it leaves filled."""

    words: list
    wanted: Wanted
    cycles: int
    filled: dict


class Campaign:
    """A machine, and programs of which is known what they do.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    programs : int
    seed : int
        Of the programs.
    verilog : str or None
        In place of the generated one.
    """

    def __init__(self, config, programs=24, seed=0, verilog=None):
        self.config, self.verilog = config, verilog
        self._open()
        rng = np.random.default_rng([seed, 11])
        self.programs = []
        while len(self.programs) < programs or self._missing():
            known = self._learn(ShortProgram(rng, self.soak.image).write())
            if known and (len(self.programs) < programs or self._missing(known)
                          < self._missing()):
                self.programs.append(known)
        #: Clean runs that gave something else, by the flip before; and what ended runs.
        self.left, self.causes = [], Counter()
        self.runs = 0

    def _open(self):
        self.soak = Soak(self.config, verilog=self.verilog)
        self.device = self.soak.device
        self.memories = self.device.on_die()
        self.first = {name: memory.words.copy() for name, memory in self.memories.items()}

    def close(self):
        self.soak.close()

    def _rest(self):
        """End what still runs, and forget what it emitted; a reset is the host's last resort."""
        device = self.device
        status = device.run(0)
        if status & rm.RUNNING:
            device.write_register("control", rm.ABORT)
            status = device.run(HALT)
        if status & (rm.RUNNING | rm.HUNG):
            device.reset()
        device.emitted()

    def _begin(self, words):
        """Start a program on a machine that is as new."""
        for name, memory in self.memories.items():
            memory.words[:] = self.first[name]
        self.soak.prepare(TIMING)
        self.device.program(words)
        self.device.start()

    def _learn(self, words):
        """A :class:`Known`, or None if the program cannot be used."""
        wanted = self.soak.oracle.wanted(words)
        if len(wanted.emitted) > MOST_EMITTED:
            return None
        self._begin(words)
        begin = self.device.cycle
        status = self.device.run(MOST_CYCLES)
        cycles = self.device.cycle - begin
        if status & rm.RUNNING:
            self._rest()
            return None
        self.soak.compare(status, self.device.emitted(), wanted, "the program without flips")
        filled = {name: np.flatnonzero((memory.words != self.first[name]).any(1))
                  for name, memory in self.memories.items()}
        return Known(words, wanted, cycles, filled)

    def group(self, name):
        """Names of the memories of a group; those of groups before are not in it."""
        taken = [re.compile(pattern) for pattern in
                 list(GROUPS.values())[:list(GROUPS).index(name)]]
        return [memory for memory in self.memories if re.match(GROUPS[name], memory)
                and not any(pattern.match(memory) for pattern in taken)]

    def bits(self, group):
        """Bits of all memories of a group."""
        return sum(self.memories[name].words.shape[0] * self.memories[name].width
                   for name in self.group(group))

    def filled(self, group):
        """Share of a group's bits that are in words which programs fill."""
        names = self.group(group)
        return sum(len(known.filled[name]) * self.memories[name].width
                   for known in self.programs for name in names) / (
                       max(1, self.bits(group)) * len(self.programs))

    def _missing(self, *more):
        """How many groups no program fills, also none of ``more``."""
        return sum(not any(len(known.filled[name]) for known in [*self.programs, *more]
                           for name in self.group(group))
                   for group in GROUPS if self.group(group))

    def flips(self, group, count, bits=1, seed=0):
        """Random flips in a group: any bit of any word that a program fills, in any of its cycles.

        ``bits`` bits of one code word are inverted.
        """
        names = self.group(group)
        places = [(number, name) for number, known in enumerate(self.programs) for name in names]
        weights = np.array([len(self.programs[number].filled[name]) * self.memories[name].width
                            for number, name in places], float)
        if not weights.sum():
            return
        rng = np.random.default_rng([seed, list(GROUPS).index(group), bits])
        for place in rng.choice(len(places), count, p=weights / weights.sum()):
            number, name = places[place]
            known, width = self.programs[number], self.memories[name].width
            code = width // self._code_words(group)
            first = code * int(rng.integers(width // code))
            yield Flip(number, name, int(rng.choice(known.filled[name])),
                       tuple(first + int(bit) for bit in rng.choice(code, min(bits, code), False)),
                       int(rng.integers(known.cycles)))

    def _code_words(self, group):
        """Words of the code in a word of a memory (:mod:`hw.protected`)."""
        config = self.config
        return {"program": 4, "workspace": max(1, config.row_bits // 64),
                "cache": max(1, config.word_bytes // 8)}.get(group, 1)

    def run(self, flip):
        """What comes of a flip: one of :data:`OUTCOMES`."""
        try:
            outcome = self._run(flip)
        except UserError:
            # The monitor does not forget.
            self.close()
            self._open()
            return "rule"
        self._rest()
        self.runs += 1
        if self.runs % CHECK_EVERY == 0:
            self._check(flip)
        return outcome

    def _run(self, flip):
        known, device = self.programs[flip.program], self.device
        self._begin(known.words)
        device.run(flip.cycle)
        self.memories[flip.memory].flip(flip.word, *flip.bits)
        status = device.run(4 * known.cycles + HALT)
        if status & rm.RUNNING:
            return "hang"
        cause = device.cause()
        if cause != rm.Cause.NONE:
            self.causes[cause.name] += 1
            return "detected"
        try:
            self.soak.compare(status, device.emitted(), known.wanted, "the program")
        except Failure:
            return "silent"
        return "corrected" if device.read_register("corrected_low") else "masked"

    def _check(self, flip):
        """The next program knows nothing of the flip."""
        known = self.programs[flip.program]
        self.soak.prepare(TIMING)
        status, emitted = self.soak.execute(known.words, 4 * known.cycles + WATCHDOG)
        try:
            self.soak.compare(status, emitted, known.wanted, "the program after it")
        except Failure as failure:
            self.left.append((flip, str(failure)))
