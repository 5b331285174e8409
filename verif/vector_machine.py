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
        What is taken by ``take0`` and by ``take1``, in the order of the takes.
    released : list of int
        Places that ``raise1`` releases, in order.
    results : list of blocks
        What is written to the workspace, with ``raise0``, in order.
    halves : list of dict
        Payloads of the act stream, or of the staging port.
    sums, tokens : list of int
        Divisors that come, and tokens that go.
    nans : int
        Groups that are quantised with a NaN or an infinity.
    fields : dict
        Of the instruction.
    """

    def __init__(self, op, fields, a, b=(), released=None, results=(), halves=(), sums=(),
                 tokens=(), count=0, nans=0):
        self.op, self.fields, self.count, self.nans = op, fields, count, nans
        self.a, self.b = list(a), list(b)
        self.released = [place for place, _ in self.a] if released is None else released
        self.results = deque(results)
        self.halves, self.sums, self.tokens = list(halves), list(sums), list(tokens)

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
        self.job      = None
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
        assert counter == self.job.fields.get("raise0", 0)
        if self.job.op == "quantise":
            self.raised += 1
            assert len(self.halves) >= 2 * self.raised, "raised before it was written"
            return
        assert self.job.results, "more blocks are raised than written"
        place, expected = self.job.results.popleft()
        found = self.memory[place]
        wrong = np.flatnonzero(found != expected.view(np.uint32))
        assert not wrong.size, (f"{self.job.op} {self.job.fields}: block {place}, elements {wrong} "
                                f"are {found[wrong].view(np.float32)}, expected {expected[wrong]}")

    def release(self, counter):
        assert counter == self.job.fields.get("raise1", 0)
        place = self.job.released.pop(0)
        if place not in self.written:
            self.memory[place] = self.rng.integers(0, 2**32, BLOCK, dtype=np.uint32)

    async def feed(self, counter, blocks):
        """Let source blocks come."""
        for place, block in blocks:
            while counter and self.rng.random() >= self.pace:
                await RisingEdge(self.dut.clk)
            self.memory[place] = block.view(np.uint32)
            self.counters[counter] += counter != 0

    async def run(self, job, limit=20000):
        """Execute ``job`` and check all it does; return the cycles that it took."""
        self.job, self.raised, self.nans = job, 0, 0
        self.staged = job.fields.get("target") == "staging"
        self.written = {place for place, _ in job.results}
        self.halves.clear()
        self.tokens.clear()
        tasks = [cocotb.start_soon(self.feed(counter, list(blocks)))
                 for counter, blocks in job.grants()]
        tasks.append(self.sums.start(list(job.sums)))
        await self.commands.send({"word": isa.encode(job.op, **job.fields), "count": job.count})
        start = self.cycle
        await FallingEdge(self.dut.clk)
        while self.dut.busy.value or len(self.tokens) < len(job.tokens):
            await FallingEdge(self.dut.clk)
            assert self.cycle - start < limit, f"{job.op} {job.fields} does not end"
        cycles = self.cycle - start
        for task in tasks:
            assert task.done(), f"{job.op} {job.fields} did not take all"
        assert not any(self.counters), f"counters are left: {self.counters}"
        assert not job.results, f"{len(job.results)} blocks are not raised"
        assert not job.released, f"blocks {job.released} are not released"
        assert self.tokens == job.tokens, f"tokens are {self.tokens}, expected {job.tokens}"
        assert self.nans == job.nans, f"{self.nans} groups have a NaN, expected {job.nans}"
        assert len(self.halves) == len(job.halves)
        for n, (found, expected) in enumerate(zip(self.halves, job.halves)):
            assert found == expected, f"{job.op} {job.fields}: half {n} is {found}, not {expected}"
        return cycles
