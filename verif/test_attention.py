"""Bench of attention with the array: heads of random length against the reference."""

import cocotb
import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge

from hw import isa
from hw.attention.engine import AttentionEngine
from hw.config import Config
from hw.formats import ACTIVATIONS, KV
from hw.matmul.engine import MatmulEngine
from hw.signatures import Command, Raise, Take, act_write, row_write
from verif.bench import Bench, current
from verif.reference.attention import attention
from verif.reference.floats import bits
from verif.reference.kv import kv_write
from verif.streams import StreamMonitor, bursts, never, sometimes


CONFIGS = {
    "one_slice":   dict(name="test", data_bits=32, slices=1, columns=2, lanes=2, depth=16,
                        max_head=64, act_blocks=16),
    "two_slices":  dict(name="test", data_bits=64, slices=2, columns=3, lanes=8, depth=16,
                        max_head=64, act_blocks=16),
    "four_slices": dict(name="test", data_bits=128, slices=4, columns=2, lanes=4, depth=8,
                        max_head=128, act_blocks=16),
    "floats":      dict(name="test", data_bits=64, slices=2, columns=2, lanes=4, depth=16,
                        max_head=64, act_blocks=16, activations=("int8", "e4m3"),
                        kv=("int8", "e4m3", "e5m2")),
}

SIMULATORS = dict.fromkeys(("two_slices", "four_slices", "floats"), ("verilator",))


class Attention(wiring.Component):
    """The attention engine and the array, with activations from outside."""

    def __init__(self, config):
        self.config = config
        super().__init__({
            "commands": In(stream.Signature(Command)),
            "d":        In(stream.Signature(8 * config.beat_bytes)),
            "queries":  In(stream.Signature(act_write(config))),
            "write":    Out(stream.Signature(row_write(config))),
            "sums":     Out(stream.Signature(32)),
            "take0":    Out(Take),
            "raise0":   Out(Raise),
            "raise1":   Out(Raise),
            "busy":     Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.attention = attention = AttentionEngine(self.config)
        m.submodules.matmul    = matmul    = MatmulEngine(self.config)
        for name in ("commands", "d"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(attention, name))
        wiring.connect(m, attention.array, matmul.commands)
        wiring.connect(m, attention.keys, matmul.keys)
        wiring.connect(m, attention.values, matmul.values)
        wiring.connect(m, matmul.scores, attention.scores)
        for name in ("sums", "take0", "raise1"):
            wiring.connect(m, getattr(attention, name), wiring.flipped(getattr(self, name)))
        for name in ("write", "raise0"):
            wiring.connect(m, getattr(matmul, name), wiring.flipped(getattr(self, name)))
        m.d.comb += [
            matmul.act.valid.eq(self.queries.valid | attention.act.valid),
            matmul.act.p.eq(Mux(self.queries.valid, self.queries.p, attention.act.p)),
            self.queries.ready.eq(matmul.act.ready),
            attention.act.ready.eq(matmul.act.ready & ~self.queries.valid),
            matmul.take0.ok.eq(1), matmul.take1.ok.eq(1), matmul.read.request.ready.eq(1),
            attention.array_busy.eq(matmul.busy),
            self.busy.eq(attention.busy),
        ]
        return m


def component(config):
    return Attention(Config(**config))


config = Config(**current(CONFIGS))

#: Most tokens of a random head; Icarus is many times slower.
LONGEST = 40 if "icarus" in getattr(cocotb, "SIM_NAME", "").lower() else 200


def elements(rng, element, *shape):
    """Integers, and where their codes lie so that they have the size of INT8's."""
    numbers = element.numbers[np.abs(element.numbers) <= element.largest]
    return rng.choice(numbers, shape), 118 - element.exponent


def codes(rng, first, *shape):
    return rng.integers(first, first + 14, shape, np.uint8)


class Head:
    """Random operands of one ``attend``, and what is expected of it."""

    def __init__(self, rng, columns, head_blocks, tokens):
        size = 32 * head_blocks
        self.columns, self.head_blocks, self.tokens = columns, head_blocks, tokens
        self.activation, self.kv = (str(rng.choice(names)) for names in (config.activations,
                                                                         config.kv))
        self.q, first = elements(rng, ACTIVATIONS[self.activation], columns, size)
        self.q_codes = codes(rng, first, columns, head_blocks)
        self.k, first = elements(rng, KV[self.kv], tokens, size)
        self.k_codes = codes(rng, first, tokens, head_blocks)
        self.v, _ = elements(rng, KV[self.kv], tokens, size)
        self.v_codes = codes(rng, first, tokens)
        # The last blocks are for probabilities.
        self.act = int(rng.integers(config.act_blocks - 4 - head_blocks))
        self.probability = config.act_blocks - int(rng.integers(1, 4))
        self.dst = int(rng.integers(100))
        self.output, self.total = attention(self.q, self.q_codes, self.k, self.k_codes, self.v,
                                            self.v_codes, activation=self.activation, kv=self.kv)
        self.garbage = rng

    def queries(self):
        for c in range(self.columns):
            for half in range(2 * self.head_blocks):
                yield {"column": c, "address": 2 * self.act + half,
                       "data": ACTIVATIONS[self.activation].encode(
                           self.q[c, 16 * half:16 * half + 16]).view(np.int8),
                       "code": int(self.q_codes[c, half // 2])}

    def beats(self):
        """The KV blocks as memory delivers them; what is beyond the last token is garbage."""
        blocks = -(-self.tokens // 32)
        size = config.kv_lines(self.head_blocks) * config.line_bytes
        image = self.garbage.integers(0, 256, blocks * size, np.uint8)
        for position in range(self.tokens):
            kv_write(image, config, 0, position, KV[self.kv].encode(self.k[position]),
                     self.k_codes[position], KV[self.kv].encode(self.v[position]),
                     self.v_codes[position])
        used = config.kv_beats(self.head_blocks) * config.beat_bytes
        for block in image.reshape(blocks, size):
            for beat in block[:used].reshape(-1, config.beat_bytes):
                yield int.from_bytes(beat.tobytes(), "little")

    def command(self):
        word = isa.encode("attend", take0=1, raise0=2, raise1=3, dst=self.dst, act=self.act,
                          probability=self.probability, head_blocks=self.head_blocks,
                          columns=self.columns, count=7, activation=self.activation, kv=self.kv)
        return {"word": word, "count": self.tokens}


class System:
    """Drivers and monitors of everything, and a workspace."""

    def __init__(self, bench, d_pause, write_pause):
        self.bench, self.dut = bench, bench.dut
        self.commands = bench.drive("commands", Command)
        self.d = bench.drive("d", pause=d_pause)
        self.queries = bench.drive("queries", act_write(config))
        self.sums = bench.expect("sums")
        self.workspace = np.zeros(config.workspace // 4, np.uint32)
        StreamMonitor(self.dut, "write", self.store, row_write(config), pause=write_pause)
        self.counts = {"take0": 0, "raise0": 0, "raise1": 0}
        cocotb.start_soon(self.count())

    def store(self, row):
        start = row["address"] * config.lanes
        self.workspace[start:start + config.lanes] = [
            row["data"] >> 32 * n & 0xFFFFFFFF for n in range(config.lanes)]

    async def count(self):
        self.dut.take0__ok.value = 1
        while True:
            await RisingEdge(self.dut.clk)
            self.counts["take0"] += int(self.dut.take0__take.value)
            for name, number in (("raise0", 2), ("raise1", 3)):
                wires = getattr(self.dut, f"{name}__en"), getattr(self.dut, f"{name}__id")
                self.counts[name] += int(wires[0].value) and int(wires[1].value) == number

    async def attend(self, *heads):
        """Run heads, one after another; returns the cycles from each command to its end."""
        self.d.start([beat for head in heads for beat in head.beats()])
        cycles = []
        for head in heads:
            await self.queries.send_all(head.queries())
            self.sums.expect_all(bits(head.total))
            sending = self.commands.start([head.command()])
            cycles.append(0)
            while not sending.done() or int(self.dut.busy.value):
                await RisingEdge(self.dut.clk)
                cycles[-1] += 1
                assert cycles[-1] < 50000, "the unit hangs"
            # The last raise may follow the last write.
            await self.bench.cycles(2)
            self.check(head)
        return cycles

    def check(self, head):
        start = 32 * head.dst
        got = self.workspace[start:start + head.output.size].reshape(head.output.shape)
        assert np.array_equal(got, bits(head.output)), (
            f"{head.columns} columns, {head.head_blocks} blocks, {head.tokens} tokens:\n"
            f"{np.argwhere(got != bits(head.output))[:10]}")
        blocks = head.columns * head.head_blocks
        assert self.counts == {"take0": blocks, "raise0": blocks, "raise1": 1}, self.counts
        self.counts = dict.fromkeys(self.counts, 0)


def random_head(rng, tokens=None):
    head_blocks = int(rng.integers(1, config.max_head_blocks + 1))
    columns = int(rng.integers(1, config.columns + 1))
    return Head(rng, columns, head_blocks, tokens or int(rng.integers(1, LONGEST + 1)))


@cocotb.test()
@cocotb.parametrize(tokens=[1, 32, 33])
async def a_head_of_few_tokens(dut, tokens):
    async with Bench(dut) as bench:
        system = System(bench, never(), never())
        await system.attend(random_head(bench.rng, tokens))


@cocotb.test()
@cocotb.parametrize((("d_pause", "write_pause"), [
    (never, never), (lambda: sometimes(1, 0.3), lambda: sometimes(2)),
    (lambda: bursts(3, 60), lambda: bursts(4, 60))]))
async def heads_of_any_size(dut, d_pause, write_pause):
    async with Bench(dut) as bench:
        system = System(bench, d_pause(), write_pause())
        await system.attend(*(random_head(bench.rng) for _ in range(3)))


@cocotb.test()
async def no_tokens_end_at_once(dut):
    async with Bench(dut) as bench:
        system = System(bench, never(), never())
        head = random_head(bench.rng, 1)
        await system.commands.send({**head.command(), "count": 0})
        await bench.cycles(20)
        assert not int(dut.busy.value)
        assert system.counts["raise1"] == 1 and not system.workspace.any()
        system.counts = dict.fromkeys(system.counts, 0)
        await system.attend(head)


@cocotb.test()
async def a_block_takes_few_cycles(dut):
    async with Bench(dut) as bench:
        system = System(bench, never(), never())
        short, long = (Head(bench.rng, min(2, config.columns), 1, tokens) for tokens in (32, 160))
        before, after = await system.attend(short, long)
        block = (after - before) / 4
        dut._log.info("%s cycles for each KV block", block)
        assert block <= LIMITS[config.slices]


#: Cycles for each KV block of two columns and 32 channels.
LIMITS = {1: 200, 2: 100, 4: 90}
