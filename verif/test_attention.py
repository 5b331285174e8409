"""Bench of attention with the array: commands of all kinds against the reference."""


import cocotb
from cocotb.triggers import RisingEdge

from hw.attention.geometry import value_tail
from hw.config import Config
from hw.formats import KV
from hw.matmul.timing import Timing
from verif.attention_heads import Bounds, Head, Product
from verif.attention_machine import Attention, Traffic, stream_of
from verif.bench import Bench, current
from verif.streams import bursts, never, sometimes


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


def component(config):
    return Attention(Config(**config))


config = Config(**current(CONFIGS))

#: Icarus is many times slower.
SLOW = "icarus" in getattr(cocotb, "SIM_NAME", "").lower()

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
        await Traffic(bench, config).run([random_head(bench.rng, count)])


@cocotb.test()
@cocotb.parametrize(pauses=[
    dict, lambda: dict(d=sometimes(1, 0.3), write=sometimes(2), sums=sometimes(3)),
    lambda: dict(d=bursts(4, 60), parts=bursts(5, 60), write=bursts(6, 60), sums=bursts(7, 300)),
    lambda: dict(hold=bursts(8, 200)), lambda: dict(write=sometimes(9, 0.9))])
async def heads_of_any_shape_and_order(dut, pauses):
    async with Bench(dut) as bench:
        traffic = Traffic(bench, config, **pauses())
        rng = bench.rng
        await traffic.run(chained_heads(rng, 3 if SLOW else 8))
        await traffic.run(chained_heads(rng, 2 if SLOW else 8), lambda: rng.random() < 0.5)


@cocotb.test()
async def no_tokens_end_in_their_turn(dut):
    async with Bench(dut) as bench:
        none = [random_head(bench.rng, 0) for _ in range(4)]
        some = chained_heads(bench.rng, 3)
        some[2].chain = False
        await Traffic(bench, config).run([*none[:2], *some[:2], none[2], some[2], none[3]])


@cocotb.test()
async def a_flush_forgets_walks_that_nobody_attended_to(dut):
    """Keys, codes and values that are in already; what comes behind finds nothing of them."""
    async with Bench(dut) as bench:
        traffic = Traffic(bench, config)
        for count in (1, 32, 100):
            lost = stream_of(config, [random_head(bench.rng, count)], lambda: True)
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
        await Traffic(bench, config, d=sometimes(1)).run([product, *heads, product, last, product])


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
        await Traffic(bench, config, d=d()).run(commands)


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
        traffic = Traffic(bench, config, d=paced(dut))
        shape = dict(columns=min(4, config.columns), head_blocks=head_blocks)
        heads = [[Head(config, bench.rng, Head.Shape(**shape, count=32 * blocks), kv=TIMED)]
                 for blocks in (8, 24)]
        assert await fraction(traffic, ("memory", "array", "softmax"), *heads) >= 0.97


@cocotb.test(skip=SLOW)
@cocotb.parametrize(head_blocks=SIZES, blocks=[1, 2, 16])
async def chunks_take_the_time_of_the_array(dut, head_blocks, blocks):
    """Heads of few and of many blocks, chained, with all columns and groups."""
    async with Bench(dut) as bench:
        traffic = Traffic(bench, config)
        shape = Head.Shape(columns=config.columns, groups=config.kv_groups, count=32 * blocks,
                           head_blocks=head_blocks, tokens=1)
        heads = [[Head(config, bench.rng, shape, chain=n > 0, kv=TIMED)
                  for n in range(-(-number // blocks))] for number in (8, 24)]
        # With few blocks, those of two heads do not cover the way of their probabilities.
        least = {1: 0.4, 2: 0.6}.get(blocks, 0.95)
        # Memory is the limit, and keys are as far ahead as it needs, if blocks serve one group.
        names = ("array", "softmax") if config.kv_groups > 1 else ("memory", "array", "softmax")
        assert await fraction(traffic, names, *heads) >= least
