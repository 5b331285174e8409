"""What surrounds the vector unit in its bench: workspace, counters, and those who use them.

Source blocks hold garbage until their counter is raised, and again when they are released; a
result must be in the workspace when its counter is raised.
"""

from collections import deque

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from hw import isa
from hw.memory.staging import staging_write
from hw.signatures import Command, act_write
from verif.packing import unpack
from verif.streams import StreamDriver, StreamMonitor


__all__ = ["BLOCK", "Job", "Machine"]


#: Elements of a block.
BLOCK = 32


class Job:
    """One command, what it takes, and what is expected of it. Blocks are ``(place, float32 [32])``.

    Parameters
    ----------
    op : str
        Name of the instruction.
    count : int
        Value of the register that the instruction names.
    a, b : list of blocks
        What is taken by ``take0`` and by ``take1``, in the order of the takes; a list of blocks is
        taken by one.
    released : list of int
        Places that ``raise1`` releases, in order, or lists of them.
    results : list of blocks
        What is written to the workspace, with ``raise0``, in order; or lists of blocks.
    quiet : list of blocks
        What else is written to the workspace.
    halves : list of dict
        Payloads of the act stream, or of the staging port.
    sums, tokens : list of int
        Divisors that come, and tokens that go.
    nans : int
        Groups that are quantised with a NaN or an infinity.
    fields : dict
        Of the instruction.
    """

    def __init__(self, op, fields, a, b=(), released=None, results=(), quiet=(), halves=(),
                 sums=(), tokens=(), count=0, nans=0):
        self.op, self.fields, self.count, self.nans = op, fields, count, nans
        self.a, self.b, self.results = (
            [blocks if isinstance(blocks, list) else [blocks] for blocks in taken]
            for taken in (a, b, results))
        if released is None:
            released = [[place for place, _ in blocks] for blocks in self.a]
        self.released = [places if isinstance(places, list) else [places] for places in released]
        self.quiet = list(quiet)
        self.halves, self.sums, self.tokens = list(halves), list(sums), list(tokens)

    def raises(self):
        """What ``raise0`` tells, in order: ``[(job, blocks), ...]``, without blocks if they are
        quantised."""
        return [(self, blocks) for blocks in self.results + [[]] * (len(self.halves) // 2)]

    def grants(self):
        """Blocks that come by each counter: ``[(counter, blocks), ...]``."""
        take0, take1 = self.fields.get("take0", 0), self.fields.get("take1", 0)
        if take0 == take1:
            pairs = [block for both in zip(self.a, self.b) for block in both]
            rest  = self.a[len(self.b):] + self.b[len(self.a):]
            return [(take0, pairs + rest)]
        return [(take0, self.a), (take1, self.b)]


class Machine:
    """Runs jobs on the vector unit ``dut``.

    Parameters
    ----------
    rng : numpy Generator
        Of garbage and of pauses.
    pace : float
        Probability that a counter is raised, or a sum sent, in a cycle in which it could be.
    act_pause : iterator or None
        Of the act stream.
    """

    def __init__(self, dut, config, rng, *, pace=1.0, act_pause=None):
        self.dut, self.config, self.rng, self.pace = dut, config, rng, pace
        self.memory   = rng.integers(0, 2**32, (config.blocks, BLOCK), dtype=np.uint32)
        self.counters = [0] * isa.COUNTERS
        self.cycle    = 0
        self.staged   = False
        self.nans     = 0
        self.halves, self.tokens = [], []
        self.commands = StreamDriver(dut, "commands", Command)
        self.sums     = StreamDriver(dut, "sums", pause=self.pauses())
        StreamMonitor(dut, "act", self.halves.append, act_write(config), pause=act_pause)
        StreamMonitor(dut, "token", self.tokens.append)
        for task in (self.answer(), self.serve()):
            cocotb.start_soon(task)

    def pauses(self):
        while True:
            yield self.rng.random() >= self.pace

    async def answer(self):
        """Tell in the middle of each cycle whether the counters allow to take."""
        ports = [(getattr(self.dut, f"{take}__id"), getattr(self.dut, f"{take}__ok"))
                 for take in ("take0", "take1")]
        told = [None, None]
        while True:
            await FallingEdge(self.dut.clk)
            for n, (id_wire, ok) in enumerate(ports):
                counter = int(id_wire.value)
                allowed = counter == 0 or self.counters[counter] > 0
                if allowed != told[n]:
                    ok.value = told[n] = allowed

    async def serve(self):
        """Do in each cycle what the unit asks for."""
        dut = self.dut
        rows = self.memory.reshape(-1, self.config.lanes)
        takes = [(getattr(dut, f"{take}__id"), getattr(dut, f"{take}__take"))
                 for take in ("take0", "take1")]
        reads = [(getattr(dut, f"{port}__en"), getattr(dut, f"{port}__address"),
                  getattr(dut, f"{port}__data")) for port in "ab"]
        write_en, staging, nan = dut.write__en, dut.staging, dut.nan
        raise0, raise1 = dut.raise0__en, dut.raise1__en
        held = [False, False]
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            for id_wire, take in takes:
                if take.value:
                    counter = int(id_wire.value)
                    assert counter == 0 or self.counters[counter] > 0, "take of an empty counter"
                    self.counters[counter] -= counter != 0
            for n, (en, address, data) in enumerate(reads):
                if en.value:
                    data.value = int.from_bytes(rows[int(address.value)].tobytes(), "little")
                elif held[n]:
                    # Nothing is held for those who do not ask.
                    data.value = int.from_bytes(self.rng.bytes(4 * self.config.lanes), "little")
                held[n] = bool(en.value)
            if write_en.value:
                row = int(dut.write__data.value).to_bytes(4 * self.config.lanes, "little")
                rows[int(dut.write__address.value)] = np.frombuffer(row, np.uint32)
            self.nans += int(nan.value)
            if raise0.value:
                self.produced(int(dut.raise0__id.value))
            if raise1.value:
                self.release(int(dut.raise1__id.value))
            if self.staged and staging.value[0]:
                half = unpack(staging_write(self.config), int(staging.value))
                del half["en"]
                self.halves.append(half)

    def produced(self, counter):
        assert self.results, "more blocks are raised than written"
        job, blocks = self.results.popleft()
        assert counter == job.fields.get("raise0", 0)
        if not blocks:
            self.quantised += 1
            assert len(self.halves) >= 2 * self.quantised, "raised before it was written"
        self.compare(job, blocks)
        self.counters[counter] += counter in self.taken

    def compare(self, job, blocks):
        """Whether what a job has to write is there."""
        for place, expected in blocks:
            found = self.memory[place]
            wrong = np.flatnonzero(found != expected.view(np.uint32))
            assert not wrong.size, (
                f"{job.op} {job.fields}: block {place}, elements {wrong} are "
                f"{found[wrong].view(np.float32)}, expected {expected[wrong]}")

    def release(self, counter):
        job, places = self.released.popleft()
        assert counter == job.fields.get("raise1", 0)
        for place in set(places) - self.kept:
            self.memory[place] = self.rng.integers(0, 2**32, BLOCK, dtype=np.uint32)

    async def feed(self, counter, units):
        """Let source blocks come."""
        for blocks in units:
            while counter and self.rng.random() >= self.pace:
                await RisingEdge(self.dut.clk)
            for place, block in blocks:
                self.memory[place] = block.view(np.uint32)
            self.counters[counter] += counter != 0

    async def run(self, *jobs, limit=20000):
        """Execute ``jobs`` behind each other, and check all they do; return the cycles that they
        took.

        A job may read what one before it writes: then neither ``a`` nor ``b`` has it, and it may be
        taken by the counter of the other's ``raise0``.
        """
        self.quantised, self.nans = 0, 0
        self.results  = deque(entry for job in jobs for entry in job.raises())
        self.released = deque((job, places) for job in jobs for places in job.released)
        self.staged   = any(job.fields.get("target") == "staging" for job in jobs)
        written       = [(job, job.quiet) for job in jobs] + list(self.results)
        self.kept     = {place for _, blocks in written for place, _ in blocks}
        self.taken    = {job.fields.get("take0", 0) for job in jobs if not job.a} - {0}
        self.halves.clear()
        self.tokens.clear()
        names  = ", ".join(f"{job.op} {job.fields}" for job in jobs)
        halves, tokens = (sum((getattr(job, name) for job in jobs), [])
                          for name in ("halves", "tokens"))
        grants = {}
        for job in jobs:
            for counter, blocks in job.grants():
                grants[counter] = grants.get(counter, []) + list(blocks)
        tasks = [cocotb.start_soon(self.feed(counter, blocks))
                 for counter, blocks in grants.items()]
        tasks.append(self.sums.start([value for job in jobs for value in job.sums]))
        first, *others = ({"word": isa.encode(job.op, **job.fields), "count": job.count}
                          for job in jobs)
        await self.commands.send(first)
        start = self.cycle
        tasks.append(self.commands.start(others))
        await FallingEdge(self.dut.clk)
        while (self.dut.busy.value or len(self.tokens) < len(tokens)
               or not tasks[-1].done()):
            await FallingEdge(self.dut.clk)
            assert self.cycle - start < limit, f"{names} does not end"
        cycles = self.cycle - start
        for task in tasks:
            assert task.done(), f"{names} did not take all"
        assert not any(self.counters), f"counters are left: {self.counters}"
        assert not self.results, f"{len(self.results)} blocks are not raised"
        assert not self.released, f"{len(self.released)} blocks are not released"
        for job in jobs:
            self.compare(job, job.quiet)
        assert self.tokens == tokens, f"tokens are {self.tokens}, expected {tokens}"
        wanted = sum(job.nans for job in jobs)
        assert self.nans == wanted, f"{self.nans} groups have a NaN, expected {wanted}"
        assert len(self.halves) == len(halves)
        for n, (found, expected) in enumerate(zip(self.halves, halves)):
            assert found == expected, f"{names}: half {n} is {found}, not {expected}"
        return cycles
