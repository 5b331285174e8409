"""cocotb tests of :class:`hw.matmul.engine.MatmulEngine`."""

import itertools
from dataclasses import asdict

import cocotb
import numpy as np

from hw.config import Config, load
from hw.formats import ACTIVATIONS, FORMATS, keys, supported, values
from hw.matmul.engine import MatmulEngine
from hw.matmul.timing import Timing
from hw.signatures import Drain, Source
from verif.bench import Bench, current
from verif.formats import random_activations, random_elements, random_scales
from verif.matmul_machine import Machine
from verif.matmul_product import Product
from verif.streams import bursts, never, sometimes


SMALL = dict(data_bits=32, workspace=16384, act_blocks=64, replay=32768, w_fifo=512, d_fifo=512,
             burst=16)

CONFIGS = {
    "one_slice":   SMALL | dict(slices=1, columns=2, depth=16, lanes=2, max_head=64),
    "two_slices":  SMALL | dict(slices=2, columns=3, depth=4, lanes=8, max_head=64),
    "four_slices": SMALL | dict(slices=4, columns=1, depth=1, lanes=4, max_head=128),
    "wide_rows":   SMALL | dict(slices=1, columns=2, depth=16, lanes=32, max_head=32),
    "wide_beats":  SMALL | dict(burst=64, w_fifo=1024, d_fifo=1024, slices=16,
                                columns=2, depth=16, lanes=8, max_head=128),
    "formats":     SMALL | dict(slices=2, columns=2, depth=4, lanes=4, formats=tuple(FORMATS)),
    "activations": SMALL | dict(slices=1, columns=2, depth=8, lanes=8, formats=tuple(FORMATS),
                                activations=("int8", "e4m3"), kv=("int8", "e4m3", "e5m2")),
    "wide_factor": SMALL | dict(slices=1, columns=2, depth=16, lanes=32,
                                formats=("nvfp4", "int16", "mxfp6")),
    "only_nvfp4":  SMALL | dict(slices=4, columns=2, depth=8, lanes=2, formats=("nvfp4",)),
    "only_mxfp4":  SMALL | dict(slices=4, columns=2, depth=8, lanes=4, formats=("mxfp4",)),
    "cached":      SMALL | dict(slices=2, columns=2, depth=8, lanes=8, cache=1024),
    "only_int8":   SMALL | dict(slices=2, columns=2, depth=8, lanes=4, formats=("int8",)),
    "sim":         asdict(load("sim")),
}

#: Icarus is slow: the smallest geometries are enough there.
SIMULATORS = {label: ("verilator",) for label in CONFIGS
              if label not in ("one_slice", "two_slices")}


def component(config):
    return MatmulEngine(Config(**{"name": "test", **config}))


config = Config(**{"name": "test", **current(CONFIGS)})

#: A format of 8 bits if there is one.
EIGHT = min(config.formats, key=lambda name: abs(FORMATS[name].element.bits - 8))

#: Sums that are written in a cycle: a row, or half of one if a tile has no more.
WRITTEN = min(config.lanes, 16 * config.slices)

#: Products of a test with random ones.
NUMBER = 14 if getattr(cocotb, "SIM_NAME", "") == "Verilator" else 4


def operands(rng, rows, size, vectors, format, activation="int8"):
    """Random operands; extreme elements and special scales are frequent."""
    blocks = -(-size // 32)
    weights = random_elements(rng, format.element, (rows, size), nan=format.name != "values")
    scales = random_scales(rng, format.scale, (rows, format.scales(size)))
    act = random_activations(rng, ACTIVATIONS[activation], (vectors, size))
    codes = rng.integers(118, 136, (vectors, blocks)).astype(np.uint8)
    codes[rng.random((vectors, blocks)) < 0.005] = 255
    zero = rng.random((vectors, blocks)) < 0.05
    codes[zero] = 0
    act[np.repeat(zero, 32, axis=1)[:, :size]] = 0
    factor = np.float32(rng.normal()) if format.factor else None
    return dict(weights=weights, scales=scales, act=act, codes=codes, activation=activation,
                factor=factor)


class Places:
    """Deals activation blocks and workspace blocks, so that neighbours do not overlap."""

    def __init__(self):
        self.act = self.dst = 0

    def take(self, blocks, destinations):
        if self.act + blocks > config.act_blocks:
            self.act = 0
        if self.dst + destinations > config.blocks:
            self.dst = 0
        place = dict(address=self.act, dst=self.dst)
        self.act += blocks
        self.dst += destinations
        return place


def random_cut(rng, format):
    """``(tiles, height, tail)``: the last tile may end anywhere, others fill rows of the
    workspace."""
    step = FORMATS[format].step
    unit = max(step, WRITTEN // config.slices)
    tail = step * int(rng.integers(1, 16 // step + 1))
    return int(rng.integers(1, 5)), unit * int(rng.integers(1, 16 // unit + 1)), tail


def weights_product(rng, places, columns=None, groups=None, drain=None, rows=None, size=None,
                    format=None):
    """A random product with weights."""
    format = format or str(rng.choice(config.formats))
    columns = columns or int(rng.integers(1, config.columns + 1))
    groups = groups or int(rng.choice([1, 1, 2, 3]))
    drain = drain or (Drain.STORE, Drain.ADD)[rng.integers(2)]
    cut = None
    if rows is None and rng.random() < 0.5:
        cut = random_cut(rng, format)
        rows = config.slices * ((cut[0] - 1) * cut[1] + cut[2])
        # The last tile has rows of the matrix.
        rows -= int(rng.integers(config.slices))
    rows = rows or 32 * int(rng.integers(1, 5))
    if size is None:
        size = int(rng.choice([16, 32, 48, 64, 80, 96, 144, 160, 288]))
    if FORMATS[format].whole:
        size = -(-size // 32) * 32
    # What is written may reach beyond the matrix.
    written = rows + -rows % (2 * 32 if config.slices > 16 else 32)
    stride = written // 32 + int(rng.integers(0, 2))
    vectors = columns * groups
    counters = {"raise1": int(rng.integers(1, 16))}
    # What says that operands are there must not say that results have room.
    for name, first, end in (("take0", 1, 8), ("take1", 8, 16), ("raise0", 1, 16)):
        if rng.random() < 0.8:
            counters[name] = int(rng.integers(first, end))
    old = None
    if drain == Drain.ADD and "take1" in counters:
        old = rng.normal(size=(vectors, rows)).astype(np.float32)
    activation = str(rng.choice([name for name in config.activations
                                 if supported(FORMATS[format], name)]))
    return Product(**operands(rng, rows, size, vectors, FORMATS[format], activation), cut=cut,
                   columns=columns, format=format, drain=drain, old=old, stride=stride,
                   counters=counters, **places.take(-(-size // 32) * groups, stride * vectors))


def attention_products(rng, places, columns=None, blocks=None):
    """Products of keys, and of values that are kept between them."""
    columns = columns or int(rng.integers(1, config.columns + 1))
    head = 32 * int(rng.integers(1, config.max_head_blocks + 1))
    blocks = blocks or int(rng.integers(1, 4))
    kv, activation = str(rng.choice(config.kv)), str(rng.choice(config.activations))
    same = {"columns": columns, "format": kv}
    destination = places.take(0, columns * head // 32)["dst"]
    for block in range(blocks):
        product = operands(rng, 32, head, columns, keys(kv), activation)
        yield Product(**product, **same, source=Source.KEYS, drain=Drain.SCORES,
                      counters={"raise1": 1},
                      address=places.take(head // 32, 0)["address"])
        product = operands(rng, head, 32, columns, values(kv))
        shift = rng.choice([0, 1, 5, 40, 255], columns)
        last = block == blocks - 1
        yield Product(**product, **same, source=Source.VALUES, acc=16, acc_step=True,
                      shift=shift, onto=block > 0,
                      drain=Drain.STORE if last else Drain.KEEP,
                      counters={"raise1": 2, "take1": 3, "raise0": 4} if last else {"raise1": 2},
                      address=places.take(1, 0)["address"], dst=destination, stride=head // 32)


def random_products(rng, number):
    places = Places()
    products = []
    while len(products) < number:
        if rng.random() < 0.7:
            products.append(weights_product(rng, places))
        else:
            products += attention_products(rng, places)
    return products


@cocotb.test()
@cocotb.parametrize(("kind", ["never", "sometimes", "bursts"]))
async def random_products_match_the_reference(dut, kind):
    """Everything that a random sequence of products does is as the reference says."""
    pauses = {"never": lambda n: never, "sometimes": lambda n: lambda: sometimes(n, 0.3),
              "bursts": lambda n: lambda: bursts(n)}[kind]
    names = ("commands", "w", "keys", "values", "act", "read", "write", "scores", "grant")
    async with Bench(dut) as bench:
        machine = Machine(dut, config, bench.rng,
                          {name: pauses(n) for n, name in enumerate(names)})
        await machine.run(random_products(bench.rng, NUMBER))


@cocotb.test()
async def the_array_is_kept_busy(dut):
    """A product with many groups takes a cycle a beat in every format; the drain keeps up."""
    async with Bench(dut) as bench:
        full = config.slices * config.columns == 16 and config.act_blocks >= 64
        groups, rows = (16, 128) if full else (4, 64)
        for name in config.formats:
            format = FORMATS[name]
            machine = Machine(dut, config, bench.rng)
            values = operands(bench.rng, rows, 128, groups * config.columns, format)
            product = Product(**values, format=name, columns=config.columns, stride=rows // 32,
                              counters={"raise1": 1})
            await machine.run([product])
            cycles = machine.last_write - machine.first_beat
            # Two 4-bit weights a multiplier and cycle, one of 6 or 8 bits, half a one of 16.
            beats = rows // config.slices * 8 * groups * format.beats // 2
            # What is written in a cycle limits wide beats with narrow rows.
            slowest = max(beats, len(product.act) * rows // WRITTEN)
            print(f"{name}: {cycles} cycles for {beats} beats")
            assert cycles <= 1.06 * slowest + (0 if full else 150)


@cocotb.test(skip="int8" not in config.formats)
async def few_cycles_pass_before_and_behind_the_beats(dut):
    """The time of a product is that of its beats, one fill, and one drain of a low tile. In `sim`
    it is the product of 64 vectors, outputs and elements of `tokamac bench gemm`."""
    async with Bench(dut) as bench:
        height = max(8, WRITTEN // config.slices)
        stride = 4 * height * config.slices // 32
        groups = min(8, config.blocks // stride // config.columns)
        vectors = groups * config.columns
        machine = Machine(dut, config, bench.rng)
        product = Product(
            **operands(bench.rng, 32 * stride, 64, vectors, FORMATS["int8"]),
            format="int8", columns=config.columns, cut=(4, height, height),
            stride=stride, counters={"raise1": 1})
        await machine.run([product])
        cycles = machine.last_write - machine.first_beat + 1
        beats, drained = 16 * height * groups, height * config.slices * config.columns // WRITTEN
        around = Timing(config).write + config.columns + (17 if config.having("factor") else 13)
        print(f"{cycles} cycles for {beats} beats, {drained} rows and {around}")
        assert cycles <= beats + drained + around


@cocotb.test(skip="int8" not in config.formats)
async def scales_come_while_a_tile_is_given_again(dut):
    """Of all tiles but the first they cost nothing, if there are several groups."""
    async with Bench(dut) as bench:
        groups, tiles, size = 2, 6, min(256, config.replay // config.beat_bytes)
        rows = 16 * config.slices * tiles
        machine = Machine(dut, config, bench.rng)
        product = Product(**operands(bench.rng, rows, size, groups, FORMATS["int8"]),
                          format="int8", columns=1, stride=rows // 32, counters={"raise1": 1})
        await machine.run([product])
        cycles = machine.last_write - machine.first_beat
        beats, scales = tiles * groups * size, size // 16
        assert cycles <= beats + scales + 60 + 16 * config.slices // WRITTEN, f"{cycles}: {beats}"


def late(cycles):
    """A pause of so many cycles, then none."""
    yield from itertools.repeat(True, cycles)
    yield from never()


@cocotb.test(skip="int8" not in config.formats)
async def scales_cost_nothing_if_weights_came_ahead(dut):
    """While activations were awaited; as many beats of them as may wait."""
    async with Bench(dut) as bench:
        machine = Machine(dut, config, bench.rng, {"act": lambda: late(2 * config.beats_ahead)})
        size, rows = 256, config.slices * config.beats_ahead
        product = Product(**operands(bench.rng, rows, size, 1, FORMATS["int8"]), format="int8",
                          columns=1, stride=rows // 32, counters={"take0": 1, "raise1": 2})
        await machine.run([product])
        cycles, beats = machine.last_write - machine.first_beat, rows // config.slices * size // 16
        assert cycles <= beats + 60 + 16 * config.slices // WRITTEN, f"{cycles}: {beats}"


@cocotb.test()
async def commands_follow_each_other(dut):
    """Commands cost an idle cycle each, and the array does not wait for sums of the one before."""
    async with Bench(dut) as bench:
        machine = Machine(dut, config, bench.rng)
        places, rows = Places(), 16 * config.slices if config.slices > 1 else 32
        products = [weights_product(bench.rng, places, columns=1, groups=1, drain=Drain.STORE,
                                    rows=rows, size=64, format=EIGHT) for _ in range(8)]
        for product in products:
            product.counters = {"raise1": 1}
        await machine.run(products)
        beats = sum(len(product.beats(config)) for product in products)
        if FORMATS[EIGHT].six:
            # Three beats of the tape are four of the array.
            beats += sum(sum(p.tiles(config.slices)) * p.halves // 4 for p in products)
        cycles = machine.last_write - machine.first_beat
        # The last sums are written after the last beat.
        after = 60 + rows // WRITTEN
        assert cycles <= beats + 2 * len(products) + after, f"{cycles} cycles for {beats} beats"


@cocotb.test()
@cocotb.parametrize(size=[32, 64])
async def short_products_are_drained_as_they_come(dut, size):
    """Passes of one and two blocks take the time of their beats, or that of their rows."""
    async with Bench(dut) as bench:
        groups, rows = min(12, config.act_blocks * 32 // size), max(64, 32 * config.slices)
        groups = min(groups, config.blocks * 32 // rows // config.columns)
        machine, format = Machine(dut, config, bench.rng), FORMATS[EIGHT]
        product = Product(**operands(bench.rng, rows, size, groups * config.columns, format),
                          format=EIGHT, columns=config.columns, stride=rows // 32,
                          counters={"raise1": 1})
        await machine.run([product])
        cycles = machine.last_write - machine.first_beat
        tiles = rows // config.slices // 16
        beats = size * format.beats // 2
        written = 16 * config.slices * config.columns // WRITTEN
        print(f"{cycles} cycles for {tiles * groups} passes of {beats} beats, {written} rows")
        assert cycles <= tiles * groups * max(beats, written) + min(beats, written) + 50
