"""Bench of attention with the array: commands of all kinds against the reference."""

from collections import deque

import cocotb
import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge

from hw.attention.engine import AttentionEngine
from hw.attention.geometry import select_job, value_tail
from hw.config import Config
from hw.formats import KV
from hw.matmul.engine import MatmulEngine
from hw.matmul.timing import Timing
from hw.signatures import Command, Raise, Take, act_write, kv_part, row_write, scores
from verif.attention_heads import Bounds, Head, Product, legal_order
from verif.bench import Bench, current
from verif.reference.floats import bits
from verif.streams import StreamMonitor, bursts, never, sometimes


CONFIGS = {
    "one_slice":   dict(name="test", data_bits=32, slices=1, columns=2, lanes=2, depth=16,
                        max_head=64, act_blocks=64, kv_groups=2),
    "two_slices":  dict(name="test", data_bits=64, slices=2, columns=3, lanes=8, depth=16,
                        max_head=64, act_blocks=128, kv_groups=3, pages=128),
    "one_group":   dict(name="test", data_bits=64, slices=2, columns=2, lanes=4, depth=16,
                        max_head=64, act_blocks=64),
    "four_slices": dict(name="test", data_bits=128, slices=4, columns=2, lanes=4, depth=8,
                        max_head=128, act_blocks=128, kv_groups=2),
    "floats":      dict(name="test", data_bits=64, slices=2, columns=2, lanes=4, depth=16,
                        max_head=64, act_blocks=64, activations=("int8", "e4m3"),
                        kv=("int8", "e4m3", "e5m2")),
    "int4":        dict(name="test", data_bits=128, slices=2, columns=4, lanes=8, depth=16,
                        max_head=64, act_blocks=128, kv=("int4", "e4m3"), pages=128),
    "one_packed":  dict(name="test", data_bits=32, slices=1, columns=2, lanes=2, depth=16,
                        max_head=64, act_blocks=64, kv_groups=2, kv=("int4", "int8")),
    "sim":         dict(name="test", data_bits=128, slices=2, columns=8, lanes=8, depth=16,
                        max_head=64, act_blocks=256, kv_groups=2, workspace=2**18),
    "server":      dict(name="test", data_bits=512, slices=8, columns=8, lanes=16, depth=16,
                        max_head=128, act_blocks=1024, kv_groups=4, workspace=2**20),
}

SIMULATORS = {name: ("verilator",) for name in CONFIGS if name not in ("one_slice", "one_group")}


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


def component(config):
    return Attention(Config(**config))


config = Config(**current(CONFIGS))

#: Icarus is many times slower.
SLOW = "icarus" in getattr(cocotb, "SIM_NAME", "").lower()

#: Activation blocks of a command's queries; those of two commands, then probabilities.
QUERIES = 2 * config.max_head_blocks * config.kv_groups if config.pages else (
    config.max_head_blocks * config.kv_groups)
PROBABILITY = 2 * QUERIES

#: More cycles than any run takes.
HANGS = 100_000


def stream_of(commands, eager):
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

    def __init__(self, bench, *, d=None, parts=None, write=None, sums=None, hold=None):
        self.bench, self.dut, self.rng = bench, bench.dut, bench.rng
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
        start = row["address"] * config.lanes
        self.workspace[start:start + config.lanes] = [
            row["data"] >> 32 * n & 0xFFFFFFFF for n in range(config.lanes)]
        if (start + config.lanes) % 32 == 0:
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
            await self.queries.send_all(command.writes(n % 2 * QUERIES))
            taker = "array" if isinstance(command, Product) else "take0"
            self.granted[taker] += len(command.q) * command.blocks

    async def run(self, commands, eager=lambda: True):
        """Run commands one after another; check all that they do."""
        words, outputs, dst = [], [], 0
        # Blocks, in the order in which a raise says that they are written.
        self.raising, self.written = deque(), set()
        for n, command in enumerate(commands):
            places = dict(take0=1, raise1=3, act=n % 2 * QUERIES)
            if isinstance(command, Bounds):
                self.bounds.expect_all(command.jobs())
                self.bounds_scores.expect_all(command.scores())
            else:
                output, total = (command.result() if command.expects
                                 else np.zeros((2, 0), np.float32))
                self.sums.expect_all(bits(total))
                places |= dict(raise0=2, dst=dst)
                if isinstance(command, Head):
                    places |= dict(probability=PROBABILITY)
                outputs.append((command, dst, bits(output).ravel()))
                self.raising += range(dst, dst + output.size // 32)
                dst += command.blocks * len(command.q)
            words.append(command.command(**places))
        assert 32 * dst <= len(self.workspace), "the workspace is too small"
        stream = stream_of(commands, eager)

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


def random_head(rng, count=None, **fields):
    """A head of any shape."""
    columns = int(rng.integers(1, config.columns + 1))
    count   = int(rng.integers(1, 60 if SLOW else 300)) if count is None else count
    window  = int(rng.choice([0, 1, 20, 32, 70]))
    shape = dict(columns=columns, groups=int(rng.integers(1, config.kv_groups + 1)),
                 head_blocks=int(rng.integers(1, config.max_head_blocks + 1)), count=count,
                 window=window, sinks=int(rng.integers(0, window + 1)) if window else 0,
                 tokens=int(columns <= count and rng.random() < 0.5))
    return Head(config, rng, Head.Shape(**shape | fields), chain=bool(rng.random() < 0.7))


def chained_heads(rng, number):
    """Heads of which chained ones have the same groups, as they share places."""
    heads = []
    for _ in range(number):
        groups = heads[-1].groups if heads and rng.random() < 0.7 else int(
            rng.integers(1, config.kv_groups + 1))
        head = random_head(rng, groups=groups)
        head.chain &= bool(heads) and heads[-1].groups == groups
        heads.append(head)
    return heads


@cocotb.test()
@cocotb.parametrize(count=[1, 32, 33])
async def a_head_of_few_tokens(dut, count):
    async with Bench(dut) as bench:
        await Traffic(bench).run([random_head(bench.rng, count)])


@cocotb.test()
@cocotb.parametrize(pauses=[
    dict, lambda: dict(d=sometimes(1, 0.3), write=sometimes(2), sums=sometimes(3)),
    lambda: dict(d=bursts(4, 60), parts=bursts(5, 60), write=bursts(6, 60), sums=bursts(7, 300)),
    lambda: dict(hold=bursts(8, 200)), lambda: dict(write=sometimes(9, 0.9))])
async def heads_of_any_shape_and_order(dut, pauses):
    async with Bench(dut) as bench:
        traffic = Traffic(bench, **pauses())
        rng = bench.rng
        await traffic.run(chained_heads(rng, 3 if SLOW else 8))
        await traffic.run(chained_heads(rng, 2 if SLOW else 8), lambda: rng.random() < 0.5)


@cocotb.test()
async def no_tokens_end_in_their_turn(dut):
    async with Bench(dut) as bench:
        none = [random_head(bench.rng, 0) for _ in range(4)]
        some = chained_heads(bench.rng, 3)
        some[2].chain = False
        await Traffic(bench).run([*none[:2], *some[:2], none[2], some[2], none[3]])


@cocotb.test()
async def a_flush_forgets_walks_that_nobody_attended_to(dut):
    """Keys, codes and values that are in already; what comes behind finds nothing of them."""
    async with Bench(dut) as bench:
        traffic = Traffic(bench)
        for count in (1, 32, 100):
            lost = stream_of([random_head(bench.rng, count)], lambda: True)
            sending = [traffic.parts.start([part for part, _ in lost]),
                       traffic.d.start([beat for _, beats in lost for beat in beats])]
            await bench.cycles(400)
            for task in sending:
                task.cancel()
            dut.parts__valid.value = dut.d__valid.value = 0
            dut.flush.value = 1
            await bench.cycles(1)
            dut.flush.value = 0
            heads = chained_heads(bench.rng, 2)
            heads[0].chain = False
            await traffic.run(heads)


@cocotb.test()
async def products_of_weights_go_between(dut):
    async with Bench(dut) as bench:
        heads = chained_heads(bench.rng, 2)
        product = Product(config, bench.rng)
        last = random_head(bench.rng)
        last.chain = False
        await Traffic(bench, d=sometimes(1)).run([product, *heads, product, last, product])


@cocotb.test(skip=not config.pages)
@cocotb.parametrize(d=[never, lambda: bursts(1, 60)])
async def bounds_are_scored_for_the_selector(dut, d):
    async with Bench(dut) as bench:
        rng = bench.rng
        shapes = [(int(rng.integers(1, config.columns + 1)),
                   int(rng.integers(1, config.kv_groups + 1)),
                   int(rng.integers(1, config.max_head_blocks + 1)), pages)
                  for pages in (1, 0, 33, config.pages)]
        commands = [command for shape in shapes
                    for command in (Bounds(config, rng, *shape), random_head(rng))]
        for command in commands[1::2]:
            command.chain = False
        await Traffic(bench, d=d()).run(commands)


#: What timed heads consist of.
TIMED = config.kv[0]


def limits(shape):
    """Cycles that a KV block takes at least: of memory, of the array, and of the softmax."""
    heads, height = shape.head_blocks, config.key_height
    spread = max(0, Timing(config).loop - 2 * height)
    keys   = config.key_tiles * (2 * heads * height + (heads - 1) * spread)
    values = 2 * (16 * (config.value_groups(heads) - 1) + value_tail(config, heads))
    return {"memory": config.kv_beats(heads, KV[TIMED].packed) * config.beat_words,
            "array": shape.groups * (keys + values) + 2,
            "softmax": shape.columns * shape.groups * 32 // min(config.softmax_lanes, 16)}


async def fraction(traffic, names, commands, more):
    """Share of the longest of some limits in the cycles that ``more`` heads take longer."""
    cycles = [await traffic.run(heads) for heads in (commands, more)]
    shape  = commands[0].shape
    blocks = sum(len(head.numbers) for head in more) - sum(len(head.numbers) for head in commands)
    taken  = (cycles[1] - cycles[0]) / blocks
    found  = limits(shape)
    result = max(found[name] for name in names) / taken
    traffic.dut._log.info("%d slices, %d columns, %d groups, heads of %d: %.1f cycles a block, "
                          "%s, fraction %.3f", config.slices, shape.columns, shape.groups,
                          32 * shape.head_blocks, taken, found, result)
    return result


def paced(dut):
    """Pauses of D as memory makes them: a beat each ``beat_words`` cycles, ``d_fifo`` ahead."""
    most, there = config.d_fifo // config.beat_bytes, [0.0]

    async def fill():
        while True:
            await RisingEdge(dut.clk)
            there[0] = min(most, there[0] + 1 / config.beat_words)

    cocotb.start_soon(fill())
    while True:
        if there[0] < 1:
            yield True
        else:
            there[0] -= 1
            yield False


#: Heads of these blocks are timed.
SIZES = sorted({max(1, config.max_head_blocks // 2), config.max_head_blocks})


@cocotb.test(skip=SLOW)
@cocotb.parametrize(head_blocks=SIZES)
async def decoding_takes_the_time_of_memory(dut, head_blocks):
    async with Bench(dut) as bench:
        traffic = Traffic(bench, d=paced(dut))
        shape = dict(columns=min(4, config.columns), head_blocks=head_blocks)
        heads = [[Head(config, bench.rng, Head.Shape(**shape, count=32 * blocks), kv=TIMED)]
                 for blocks in (8, 24)]
        assert await fraction(traffic, ("memory", "array", "softmax"), *heads) >= 0.97


@cocotb.test(skip=SLOW)
@cocotb.parametrize(head_blocks=SIZES, blocks=[1, 2, 16])
async def chunks_take_the_time_of_the_array(dut, head_blocks, blocks):
    """Heads of few and of many blocks, chained, with all columns and groups."""
    async with Bench(dut) as bench:
        traffic = Traffic(bench)
        shape = Head.Shape(columns=config.columns, groups=config.kv_groups, count=32 * blocks,
                           head_blocks=head_blocks, tokens=1)
        heads = [[Head(config, bench.rng, shape, chain=n > 0, kv=TIMED)
                  for n in range(-(-number // blocks))] for number in (8, 24)]
        # With few blocks, those of two heads do not cover the way of their probabilities.
        least = {1: 0.4, 2: 0.6}.get(blocks, 0.95)
        # Memory is the limit, and keys are as far ahead as it needs, if blocks serve one group.
        names = ("array", "softmax") if config.kv_groups > 1 else ("memory", "array", "softmax")
        assert await fraction(traffic, names, *heads) >= least
