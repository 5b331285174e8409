"""Surroundings of the matrix engine in a bench: streams, workspace and counters."""

from collections import Counter, deque

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer

from hw.signatures import Source, act_write, array_command, beat, row_write, scores
from verif.matmul_product import plan
from verif.packing import unpack
from verif.streams import StreamDriver, StreamMonitor, never


__all__ = ["Machine"]


class Machine:
    """Runs products on a :class:`hw.matmul.engine.MatmulEngine`, and checks all that it does.

    Parameters
    ----------
    pause : dict
        For ``commands``, ``w``, ``keys``, ``values``, ``act``, ``read``, ``write``, ``scores`` and
        ``grant``: a function that makes an iterator of pauses; none by default.

    Members
    -------
    cycle, first_beat, last_write : int
        Cycles so far, and the cycles of the first beat and of the last write.
    """

    def __init__(self, dut, config, rng, pause=None):
        self.dut, self.config, self.rng = dut, config, rng
        self.pause = {name: (pause or {}).get(name, never)()
                      for name in ("commands", "w", "keys", "values", "act", "read", "write",
                                   "scores", "grant")}
        self.drivers = {
            name: StreamDriver(dut, name, shape, pause=self.pause[name])
            for name, shape in (("commands", array_command(config)), ("w", None), ("keys", None),
                                ("values", beat(config)), ("act", act_write(config)))}
        self.tokens  = Counter()
        self.counts  = Counter()      # events of each kind so far
        self.rows    = np.zeros((config.rows, config.lanes), np.uint32)
        self.pending = None
        self.cycle   = 0
        self.first_beat = self.last_write = None

    async def run(self, products, patience=3000):
        """Run ``products``, and wait until all that they should do is done, and nothing else is."""
        self.pending = {name: deque(events)
                        for name, events in plan(products, self.config).items()}
        self.pending["take1"] = deque(grant.counter for grant in self.pending["grants"])
        tasks = [StreamMonitor(self.dut, "write", self.on_write, row_write(self.config),
                               pause=self.pause["write"]).task,
                 StreamMonitor(self.dut, "scores", self.on_scores, scores(self.config),
                               pause=self.pause["scores"]).task,
                 cocotb.start_soon(self.world()),
                 cocotb.start_soon(self.feed(products)),
                 cocotb.start_soon(self.grant(products))]
        for name, source in (("w", Source.WEIGHTS), ("keys", Source.KEYS)):
            tasks.append(self.drivers[name].start(
                [raw for p in products if p.source == source for raw in p.beats(self.config)]))
        tasks.append(self.drivers["values"].start(
            [{"data": unpack(beat(self.config), raw)["data"], "scale": [0] * self.config.slices}
             for p in products if p.source == Source.VALUES for raw in p.beats(self.config)]))
        for p in products:
            p.fed = cocotb.triggers.Event()
        for p in products:
            if not p.counters.get("take0"):
                await p.fed.wait()
            await self.drivers["commands"].send(p.command(self.config))
        waited = before = 0
        while any(self.pending.values()) or bool(self.dut.busy.value):
            await RisingEdge(self.dut.clk)
            now = sum(self.counts.values())
            waited = 0 if now != before else waited + 1
            before = now
            assert waited < patience, "nothing happens; missing are " + ", ".join(
                f"{len(events)} {name}" for name, events in self.pending.items() if events)
        for _ in range(50):
            await RisingEdge(self.dut.clk)
        for task in tasks:
            if task.done():
                task.result()
            task.cancel()

    # What the surroundings do

    async def feed(self, products):
        """Write activations, each when the products before have released its place."""
        for p in products:
            place = range(p.address, p.address + p.groups * p.blocks)
            before = [q.releases_done for q in products[:products.index(p)]
                      if q.address < place.stop and place.start < q.address + q.groups * q.blocks]
            while self.counts["raise1"] < max(before, default=0):
                await RisingEdge(self.dut.clk)
            for write, complete in p.activations():
                await self.drivers["act"].send(write)
                if complete:
                    self.tokens[p.counters.get("take0", 0)] += 1
            p.fed.set()

    async def grant(self, products):
        """Let destinations be written, when the products before them have written theirs."""
        for grant in list(self.pending["grants"]):
            index = products.index(grant.product)
            while index and self.counts["write"] < products[index - 1].writes_done:
                await RisingEdge(self.dut.clk)
            while next(self.pause["grant"]):
                await RisingEdge(self.dut.clk)
            if grant.old is not None:
                rows = self.config.block_rows
                self.rows[grant.block * rows:(grant.block + 1) * rows] = \
                    grant.old.view(np.uint32).reshape(rows, -1)
            self.tokens[grant.counter] += 1
        self.pending["grants"].clear()

    async def world(self):
        """Counters, and the workspace's read port."""
        dut, answer = self.dut, None
        while True:
            dut.read__request__ready.value = not next(self.pause["read"])
            dut.read__data.value = answer if answer is not None else \
                int.from_bytes(self.rng.bytes(4 * self.config.lanes), "little")
            await Timer(1, unit="ns")
            for name in ("take0", "take1"):
                counter = int(getattr(dut, f"{name}__id").value)
                getattr(dut, f"{name}__ok").value = counter == 0 or self.tokens[counter] > 0
            await RisingEdge(dut.clk)
            self.cycle += 1
            answer = None
            if bool(dut.read__request__valid.value) and bool(dut.read__request__ready.value):
                row = self.rows[int(dut.read__request__payload.value)]
                answer = int.from_bytes(row.tobytes(), "little")
            if self.first_beat is None and int(dut.events.value) & 1:
                self.first_beat = self.cycle
            for name in ("take0", "take1"):
                if bool(getattr(dut, f"{name}__take").value):
                    self.on_take(name, int(getattr(dut, f"{name}__id").value))
            for name in ("raise0", "raise1"):
                if bool(getattr(dut, f"{name}__en").value):
                    self.on_raise(name, int(getattr(dut, f"{name}__id").value))

    # What the engine does

    def next(self, name, what):
        assert self.pending[name], f"unexpected {what}"
        return self.pending[name].popleft()

    def on_take(self, name, counter):
        expected = self.next(name, f"{name} of {counter}")
        assert counter == expected, f"{name} of {counter}, expected of {expected}"
        assert self.tokens[counter] > 0, f"{name} of {counter}, which is 0"
        self.tokens[counter] -= 1
        self.counts[name] += 1

    def on_raise(self, name, counter):
        expected, writes = self.next(name, f"{name} of {counter}"), 0
        if name == "raise0":
            expected, writes = expected
        assert counter == expected, f"{name} of {counter}, expected of {expected}"
        assert self.counts["write"] >= writes, f"{name} of {counter} before the block is written"
        self.counts[name] += 1

    def on_write(self, value):
        address, bits, takes = self.next("writes", f"write of row {value['address']}")
        assert value["address"] == address, f"row {value['address']}, expected {address}"
        got = np.frombuffer(value["data"].to_bytes(4 * self.config.lanes, "little"), np.uint32)
        assert np.array_equal(got, bits), (
            f"row {address} (write {self.counts['write']}) is {got}, expected {bits}")
        assert self.counts["take1"] >= takes, f"row {address} was written before it was free"
        self.rows[address] = got
        self.counts["write"] += 1
        self.last_write = self.cycle

    def on_scores(self, value):
        expected = self.next("scores", "scores")
        assert value == expected, f"scores are {value}, expected {expected}"
        self.counts["scores"] += 1
