"""cocotb tests of :class:`hw.vector.unit.VectorUnit`."""

import cocotb
import numpy as np

from hw.config import Config
from hw.formats import KV
from hw.isa import SIGNS
from hw.vector.rounding import roundings
from hw.vector.unit import VectorUnit
from verif.bench import Bench, current
from verif.streams import bursts, never, sometimes
from verif.vector_jobs import (
    ELEMENTWISE,
    SEED,
    SYNC,
    elementwise,
    picking,
    quantising,
    quantising_pieces,
    sequence,
    values,
)
from verif.vector_machine import BLOCK, Job, Machine


#: The workspace holds 128 blocks, and 512 with all lanes: two vectors longer than a batch.
SMALL = dict(workspace=16384, act_blocks=64, kv_staging=16, pages=64)

CONFIGS = {
    "two_lanes":   SMALL | dict(lanes=2, columns=2),
    "four_lanes":  SMALL | dict(lanes=4, columns=3),
    "eight_lanes": SMALL | dict(lanes=8, columns=8),
    "all_lanes":   SMALL | dict(lanes=32, columns=5, workspace=65536, activations=("int8", "e4m3"),
                                kv=tuple(KV)),
}

#: Blocks of vectors, around the blocks of a batch.
LENGTHS = {2: [1, 3, 4, 5, 9], 4: [1, 2, 7, 8, 9, 17], 8: [1, 3, 5, 15, 16, 17],
           32: [1, 2, 7, 64, 65]}

#: Lanes -> operation and blocks -> cycles from a command to rest. ``heads`` divides heads of one
#: block, ``norms`` norms vectors of four, and ``row`` is so many sums of one block in a row.
CYCLES = {
    2: {("norm", 4): 263, ("norms", 64): 3157, ("rope", 8): 272, ("gate", 12): 843, ("sum", 4): 80,
        ("maximum", 4): 77, ("divide", 4): 94, ("heads", 16): 300, ("quantise", 4): 96,
        ("pick", 4): 78, ("noise", 1): 317, ("row", 16): 482},
    4: {("norm", 4): 168, ("norms", 64): 1622, ("rope", 8): 144, ("gate", 12): 437, ("sum", 4): 48,
        ("maximum", 4): 45, ("divide", 4): 62, ("heads", 16): 172, ("quantise", 4): 56,
        ("pick", 4): 48, ("noise", 1): 287, ("row", 16): 354},
    8: {("norm", 4): 124, ("norms", 64): 918, ("norms", 112): 1554, ("rope", 8): 80,
        ("gate", 12): 223, ("gate", 32): 565, ("sum", 4): 32, ("maximum", 4): 29, ("divide", 4): 46,
        ("heads", 16): 108, ("heads", 32): 204, ("quantise", 4): 37, ("pick", 4): 36,
        ("noise", 1): 275, ("row", 16): 290},
    32: {("norm", 4): 102, ("norm", 16): 182, ("norms", 64): 533, ("rope", 8): 32, ("gate", 12): 92,
         ("gate", 64): 344, ("sum", 4): 20, ("maximum", 4): 17, ("heads", 16): 60,
         ("quantise", 4): 28, ("pick", 4): 48, ("noise", 1): 287, ("row", 16): 242},
}

SIMULATORS = {label: ("verilator",) for label in CONFIGS if label != "two_lanes"}


def component(config):
    return VectorUnit(Config(name="vector", **config))


config = Config(name="vector", **current(CONFIGS))
lengths = LENGTHS[config.lanes]

#: What is quantised to.
ELEMENTS = [rounding.name for rounding in roundings(config)]

OPS = [*ELEMENTWISE, "rope", "gate", "norm", "divide"]


def periods(op):
    """Periods for the jobs of an operation, in turn; that of all blocks only where it is legal."""
    return [0, 1, 2, 3] if op == "norm" else [1, 2, 3, 4]


async def machine(bench, **options):
    bench.dut.seed.value = SEED
    return Machine(bench.dut, config, bench.rng, **options)


@cocotb.test()
@cocotb.parametrize(op=OPS, pace=[1.0, 0.05])
async def matches_reference(dut, op, pace):
    """Vectors of any length, with and without counters, in place and elsewhere."""
    async with Bench(dut) as bench:
        unit = await machine(bench, pace=pace)
        for n, blocks in enumerate([*lengths, *lengths[:2]]):
            fields = {} if n % 3 == 1 else dict(SYNC)
            if n % 4 == 3:
                fields["dst"] = 4
            await unit.run(elementwise(config, op, bench.rng, blocks, period=periods(op)[n % 4],
                                       **fields))


@cocotb.test()
@cocotb.parametrize(op=OPS)
async def extreme_values(dut, op):
    """Zeros, subnormals, infinities, NaNs and huge values are what the reference makes of them."""
    async with Bench(dut) as bench:
        unit = await machine(bench)
        for n, blocks in enumerate(lengths):
            await unit.run(elementwise(config, op, bench.rng, blocks, extreme=True,
                                       period=periods(op)[n % 3], **SYNC))


@cocotb.test()
@cocotb.parametrize(pace=[1.0, 0.1])
async def norms_many_vectors(dut, pace):
    """More vectors than a batch holds, the last one with fewer blocks; sources come late."""
    async with Bench(dut) as bench:
        unit = await machine(bench, pace=pace)
        shapes = [(64, 1), (67, 1), (7, 2), (12, 4), (35, 16), (18, 18), (7, 9), (21, 0)]
        if config.blocks > 300:
            shapes += [(192, 1), (131, 2), (300, 3)]
        for n, (blocks, period) in enumerate(shapes):
            # In place, so that there is room for all.
            await unit.run(elementwise(config, "norm", bench.rng, blocks, period=period, a=0, dst=0,
                                       b=config.blocks - 16 if 0 < period < 17 else 64,
                                       extreme=n % 3 == 2, **(SYNC if n % 4 else {})))


@cocotb.test()
@cocotb.parametrize(pace=[1.0, 0.3, 0.05])
async def divides_many_heads(dut, pace):
    """More heads than a batch holds, the last one with fewer blocks; sums and blocks come late."""
    async with Bench(dut) as bench:
        unit = await machine(bench, pace=pace)
        for n, (blocks, period) in enumerate([(16, 1), (64, 1), (65, 1), (124, 1), (35, 2), (9, 15),
                                              (31, 15), (5, 0)]):
            place = {"dst": 4} if blocks > 40 else {}
            job = elementwise(config, "divide", bench.rng, blocks, period=period or 15, **place,
                              **(SYNC if n % 2 else {}))
            job.fields["period"] = period
            await unit.run(job)


@cocotb.test()
@cocotb.parametrize(counted=[False, True])
async def divisors_do_not_wait_for_later_ones(dut, counted):
    """Heads are divided when their own sums and blocks are there, whatever comes after them."""
    async with Bench(dut) as bench:
        unit = await machine(bench)
        for heads, period in ((1, 1), (3, 2), (63, 1), (64, 1), (66, 1)):
            job = elementwise(config, "divide", bench.rng, 68 if period == 1 else 40, period=period,
                              dst=4, **(SYNC if counted else dict(raise0=5, raise1=6)))
            blocks = len(job.results)
            job.sums, later = job.sums[:heads], job.sums[heads:]
            run = cocotb.start_soon(unit.run(job))
            await bench.cycles(400 + 5 * heads * period * config.block_rows)
            assert len(unit.results) == blocks - heads * period
            unit.sums.start(later)
            await run


@cocotb.test()
async def one_counter_may_be_taken_twice(dut):
    """Both blocks of a gate may come by the same counter."""
    async with Bench(dut) as bench:
        unit = await machine(bench, pace=0.1)
        for blocks in lengths[:4]:
            await unit.run(elementwise(config, "gate", bench.rng, blocks, take0=7, take1=7,
                                       raise0=7))


@cocotb.test()
@cocotb.parametrize(pace=[1.0, 0.05], act_pause=[never, lambda: sometimes(1, 0.7),
                                                lambda: bursts(2, 100)])
async def quantises(dut, pace, act_pause):
    """Groups, vectors, columns and the staging memory, with a stalled stream."""
    async with Bench(dut) as bench:
        unit = await machine(bench, pace=pace, act_pause=act_pause())
        for n, (vectors, per_vector, group) in enumerate([
                (1, 1, 1), (1, 4, 1), (3, 4, 1), (4, 3, 3), (5, 2, 2), (1, 15, 15), (2, 5, 3),
                (7, 1, 1)]):
            columns = 1 + n % config.columns
            target = "column" if n % 4 else "staging"
            kind = ("normal", "ties", "extreme")[n % 3]
            await unit.run(quantising(bench.rng, vectors, per_vector, group, columns, target, kind,
                                      dst=1, element=ELEMENTS[n % len(ELEMENTS)],
                                      rule=("floor", "up")[n // 2 % 2],
                                      sign=SIGNS[n // 2 % len(SIGNS)], **SYNC))


@cocotb.test()
@cocotb.parametrize(act_pause=[never, lambda: sometimes(1, 0.7), lambda: bursts(2, 100)])
async def quantises_pieces(dut, act_pause):
    """Heads one behind the other are padded to blocks, and padded ones are put together; those of
    one vector, and of several ones between each other."""
    async with Bench(dut) as bench:
        vector = await machine(bench, act_pause=act_pause())
        for n, (blocks, group, size, zeros, number, stride, step) in enumerate([
                (12, 2, 3, 1, 1, 0, 3), (9, 1, 3, 0, 1, 0, 4), (6, 1, 1, 1, 1, 0, 1),
                (3, 1, 1, 0, 1, 0, 2), (12, 3, 5, 1, 4, 8, 5), (10, 1, 5, 0, 2, 12, 6),
                (1, 1, 1, 1, 1, 0, 2), (14, 7, 7, 7, 2, 9, 7), (5, 1, 3, 0, 3, 10, 4),
                (16, 8, 1, 15, 2, 3, 1), (3, 1, 1, 3, 3, 5, 1), (8, 2, 2, 2, 1, 0, 2)]):
            # The last but one ends within zeros and a run, of which the last one must know nothing.
            where = dict(halves=size, middle=n // 2 % 2, zeros=zeros, pieces=number, stride=stride,
                         step=step)
            target = "staging" if n % 2 == 0 and blocks < 14 else "column"
            await vector.run(quantising_pieces(config, bench.rng, blocks, where, group,
                                               target=target, raise0=5, raise1=6))
            # The next command goes by blocks again.
            await vector.run(quantising(bench.rng, 1, 3, raise0=5, raise1=6))


@cocotb.test()
@cocotb.parametrize(pace=[1.0, 0.3])
async def picks(dut, pace):
    """The largest of one command, and of several; special values, ties, and a whole NaN."""
    async with Bench(dut) as bench:
        unit = await machine(bench, pace=pace)
        rng = bench.rng
        for blocks in lengths:
            await unit.run(picking(values(rng, blocks), 0.7, index=blocks, **SYNC))
            await unit.run(picking(values(rng, blocks, extreme=True), -1.5))
            ties = rng.integers(-2, 3, blocks * BLOCK).astype(np.float32)
            await unit.run(picking(ties))
            await unit.run(picking(np.minimum(ties, 0), 1))
        await unit.run(picking(np.full(64, np.nan, np.float32)))
        await unit.run(picking(np.full(64, -np.inf, np.float32), index=5))

        whole = values(rng, 9)
        for largest in (0, 100, 287):
            whole[largest] = 50 + largest
            parts = [(0, 3), (3, 7), (7, 9)]
            for first, last in parts:
                await unit.run(picking(whole[first * BLOCK:last * BLOCK], 1, index=first,
                                       first=int(first == 0), last=int(last == 9), found=largest))


@cocotb.test()
async def picks_with_noise(dut):
    """Noise belongs to index, position and seed."""
    async with Bench(dut) as bench:
        unit = await machine(bench, pace=0.5)
        for blocks, index, position in zip(lengths, (0, 3, 65530), (0, 17, 2**32 - 1)):
            await unit.run(picking(values(bench.rng, blocks), 1.25, position, index, **SYNC))
        flat = np.zeros(BLOCK, np.float32)
        for position in range(3):
            await unit.run(picking(flat, 1.0, position))


@cocotb.test()
@cocotb.parametrize(pace=[1.0, 0.3], counted=[False, True])
async def commands_follow_each_other(dut, pace, counted):
    """Each command reads what the one before wrote, and waits for nothing else that it did."""
    async with Bench(dut) as bench:
        unit = await machine(bench, pace=pace)
        for blocks in (2, 6, 18):
            await unit.run(*sequence(config, bench.rng, blocks, counted))


@cocotb.test()
async def nothing_is_soon_done(dut):
    """A command of no blocks takes nothing, raises nothing, and ends."""
    async with Bench(dut) as bench:
        unit = await machine(bench)
        for op in [*OPS, "quantise"]:
            assert await unit.run(Job(op, dict(blocks=0) | SYNC, [])) < 10
        await unit.run(picking(values(bench.rng, 2)))


@cocotb.test()
async def cycles_are_as_documented(dut):
    """Commands take what the tables say, with their sources there."""
    async with Bench(dut) as bench:
        unit = await machine(bench)
        found = {}
        for op, blocks in CYCLES[config.lanes]:
            if op == "row":
                jobs = [elementwise(config, "sum", bench.rng, 1, a=n, b=32 + n, dst=n)
                        for n in range(blocks)]
                found[op, blocks] = await unit.run(*jobs)
                continue
            job = (elementwise(config, "norm", bench.rng, blocks, period=4, a=0, dst=0,
                               b=config.blocks - 8) if op == "norms" else
                   quantising(bench.rng, 1, blocks) if op == "quantise" else
                   picking(values(bench.rng, blocks)) if op == "pick" else
                   picking(values(bench.rng, blocks), 1.0, 3) if op == "noise" else
                   elementwise(config, "divide", bench.rng, blocks, period=1) if op == "heads" else
                   elementwise(config, op, bench.rng, blocks, period=0 if op == "norm" else 2))
            found[op, blocks] = await unit.run(job)
        assert found == CYCLES[config.lanes], f"cycles are {found}"
