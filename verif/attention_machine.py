"""Surroundings of attention in a bench: the array, streams, counters and a workspace."""

from collections import deque

import cocotb
import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge

from hw.attention.engine import AttentionEngine
from hw.attention.geometry import select_job
from hw.matmul.engine import MatmulEngine
from hw.signatures import Command, Raise, Take, act_write, kv_part, row_write, scores
from verif.attention_heads import Bounds, Head, Product, legal_order
from verif.reference.floats import bits
from verif.streams import StreamMonitor, never


__all__ = ["Attention", "Traffic", "stream_of"]

#: More cycles than any run takes.
HANGS = 100_000


class Attention(wiring.Component):
    """The attention engine and the array, with activations from outside."""

    def __init__(self, config):
        self.config = config
        selects = {"bounds": Out(stream.Signature(select_job(config))),
                   "bounds_scores": Out(stream.Signature(scores(config)))}
        super().__init__({
            "commands": In(stream.Signature(Command)),
            "parts":    In(stream.Signature(kv_part)),
            "d":        In(stream.Signature(8 * config.beat_bytes)),
            "w":        In(stream.Signature(8 * config.beat_bytes)),
            "queries":  In(stream.Signature(act_write(config))),
            "hold":     In(1), "flush": In(1),
            "write":    Out(stream.Signature(row_write(config))),
            "sums":     Out(stream.Signature(32)),
            **(selects if config.pages else {}),
            "take0":    Out(Take),
            "array":    Out(Take),
            "raise0":   Out(Raise),
            "raise1":   Out(Raise),
            "released": Out(Raise),
            "busy":     Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.attention = attention = AttentionEngine(self.config)
        m.submodules.matmul    = matmul    = MatmulEngine(self.config)
        for name in ("commands", "parts", "d"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(attention, name))
        wiring.connect(m, wiring.flipped(self.w), matmul.w)
        wiring.connect(m, attention.array, matmul.commands)
        wiring.connect(m, attention.keys, matmul.keys)
        wiring.connect(m, attention.values, matmul.values)
        wiring.connect(m, matmul.scores, attention.scores)
        selects = ("bounds", "bounds_scores") if self.config.pages else ()
        for name in ("sums", "take0", "raise1", *selects):
            wiring.connect(m, getattr(attention, name), wiring.flipped(getattr(self, name)))
        for name in ("write", "raise0"):
            wiring.connect(m, getattr(matmul, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, matmul.raise1, wiring.flipped(self.released))
        waits = self.queries.valid | self.hold
        m.d.comb += [
            matmul.act.valid.eq(self.queries.valid | (attention.act.valid & ~self.hold)),
            matmul.act.p.eq(Mux(self.queries.valid, self.queries.p, attention.act.p)),
            self.queries.ready.eq(matmul.act.ready),
            attention.act.ready.eq(matmul.act.ready & ~waits),
            self.array.id.eq(matmul.take0.id), self.array.take.eq(matmul.take0.take),
            matmul.take0.ok.eq(self.array.ok | (matmul.take0.id == 0)),
            matmul.take1.ok.eq(1), matmul.read.request.ready.eq(1),
            attention.array_busy.eq(matmul.busy), attention.flush.eq(self.flush),
            self.busy.eq(attention.busy),
        ]
        return m


def stream_of(config, commands, eager):
    """Parts and beats of commands on D: ``select`` s and the heads between them."""
    stream  = []
    selects = [n for n, command in enumerate(commands) if isinstance(command, Bounds)]
    for start, end in zip([-1, *selects], [*selects, len(commands)]):
        if start >= 0:
            stream += commands[start].parts()
        heads  = [command for command in commands[start + 1:end] if isinstance(command, Head)]
        blocks = {(h, n): head.parts(n) for h, head in enumerate(heads)
                  for n in range(len(head.numbers))}
        stream += [blocks[h, n][kind == "values"]
                   for kind, h, n in legal_order(heads, config.keys_ahead, eager)]
    return stream


class Traffic:
    """Drivers and monitors of everything, counters, and a workspace."""

    def __init__(self, bench, config, *, d=None, parts=None, write=None, sums=None, hold=None):
        self.bench, self.dut, self.rng, self.config = bench, bench.dut, bench.rng, config
        # Activation blocks of a command's queries; those of two commands, then probabilities.
        self.room = config.max_head_blocks * config.kv_groups * (2 if config.pages else 1)
        self.commands = bench.drive("commands", Command)
        self.parts    = bench.drive("parts", kv_part, pause=parts)
        self.d        = bench.drive("d", pause=d)
        self.w        = bench.drive("w")
        self.queries  = bench.drive("queries", act_write(config))
        self.sums     = bench.expect("sums", pause=sums)
        if config.pages:
            self.bounds        = bench.expect("bounds", select_job(config))
            self.bounds_scores = bench.expect("bounds_scores", scores(config))
        self.workspace = np.zeros(config.workspace // 4, np.uint32)
        StreamMonitor(self.dut, "write", self.store, row_write(config), pause=write)
        self.raising, self.written = deque(), set()
        self.counts  = {"take0": 0, "array": 0, "raise0": 0, "raise1": 0}
        self.granted = {"take0": 0, "array": 0}
        self.cycle   = 0
        self.hold    = never() if hold is None else hold
        cocotb.start_soon(self.count())

    def sent(self):
        """How far everything came."""
        names = ("commands", "parts", "d", "w", "queries")
        return {name: getattr(self, name).sent for name in names} | self.counts

    def store(self, row):
        lanes = self.config.lanes
        start = row["address"] * lanes
        self.workspace[start:start + lanes] = [
            row["data"] >> 32 * n & 0xFFFFFFFF for n in range(lanes)]
        if (start + lanes) % 32 == 0:
            self.written.add(start // 32)

    async def count(self):
        """The counters: query blocks are taken when they are there."""
        while True:
            for name, granted in self.granted.items():
                getattr(self.dut, f"{name}__ok").value = granted > self.counts[name]
            self.dut.hold.value = next(self.hold)
            await RisingEdge(self.dut.clk)
            self.cycle += 1
            for name in self.granted:
                self.counts[name] += int(getattr(self.dut, f"{name}__take").value)
            for port, name, number in (("raise0", "raise0", 2), ("raise1", "raise1", 3),
                                       ("released", "raise1", 3)):
                wires = getattr(self.dut, f"{port}__en"), getattr(self.dut, f"{port}__id")
                event = int(wires[0].value) and int(wires[1].value) == number
                self.counts[name] += event
                if event and name == "raise0":
                    block = self.raising.popleft()
                    assert block in self.written, f"block {block} is raised before it is written"

    async def write_queries(self, commands):
        """Queries of each command, as soon as those of the one before the last are released."""
        for n, command in enumerate(commands):
            while self.counts["raise1"] < n - 1:
                await RisingEdge(self.dut.clk)
            await self.queries.send_all(command.writes(n % 2 * self.room))
            taker = "array" if isinstance(command, Product) else "take0"
            self.granted[taker] += len(command.q) * command.blocks

    async def run(self, commands, eager=lambda: True):
        """Run commands one after another; check all that they do."""
        words, outputs, dst = [], [], 0
        # Blocks, in the order in which a raise says that they are written.
        self.raising, self.written = deque(), set()
        for n, command in enumerate(commands):
            places = dict(take0=1, raise1=3, act=n % 2 * self.room)
            if isinstance(command, Bounds):
                self.bounds.expect_all(command.jobs())
                self.bounds_scores.expect_all(command.scores())
            else:
                output, total = (command.result() if command.expects
                                 else np.zeros((2, 0), np.float32))
                self.sums.expect_all(bits(total))
                places |= dict(raise0=2, dst=dst)
                if isinstance(command, Head):
                    places |= dict(probability=2 * self.room)
                outputs.append((command, dst, bits(output).ravel()))
                self.raising += range(dst, dst + output.size // 32)
                dst += command.blocks * len(command.q)
            words.append(command.command(**places))
        assert 32 * dst <= len(self.workspace), "the workspace is too small"
        stream = stream_of(self.config, commands, eager)

        before = dict(self.counts)
        cocotb.start_soon(self.write_queries(commands))
        self.parts.start([part for part, _ in stream])
        self.d.start([beat for _, beats in stream for beat in beats])
        self.w.start([beat for command in commands if isinstance(command, Product)
                      for beat in command.beats()])
        start, sending = self.cycle, self.commands.start(words)
        while not sending.done() or int(self.dut.busy.value):
            await RisingEdge(self.dut.clk)
            assert self.cycle - start < HANGS, f"the unit hangs: {self.sent()}"
        cycles = self.cycle - start
        # The last raise may follow the last write.
        await self.bench.cycles(2)
        for command, dst, wanted in outputs:
            got = self.workspace[32 * dst:32 * dst + len(wanted)]
            assert np.array_equal(got, wanted), (command.shape, np.flatnonzero(got != wanted)[:10])
        blocks = {kind: sum(len(command.q) * command.blocks for command in commands
                            if isinstance(command, kind)) for kind in (Head, Bounds, Product)}
        empty  = sum(len(head.q) * head.blocks for head in commands
                     if isinstance(head, Head) and not head.numbers)
        happened = {name: self.counts[name] - before[name] for name in before}
        self.counts["raise1"] = 0
        assert happened == {"take0": blocks[Head] + blocks[Bounds], "array": blocks[Product],
                            "raise0": blocks[Head] + blocks[Product] - empty,
                            "raise1": len(commands)}, happened
        return cycles
