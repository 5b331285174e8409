"""cocotb tests of :class:`hw.vector.quantiser.Quantiser`."""

import itertools

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from hw.config import Config
from hw.formats import KV
from hw.isa import SIGNS
from hw.memory.staging import staging_write
from hw.signatures import act_write
from hw.vector.quantiser import Quantiser
from hw.vector.rounding import roundings
from verif.bench import Bench, current
from verif.packing import unpack
from verif.quantising import BLOCK, directed, halves, random_blocks
from verif.reference.quantise import quantise
from verif.streams import bursts, never, sometimes


ROOM = dict(act_blocks=1024, kv_staging=1024, workspace=2**17)

CONFIGS = {
    "int8":      ROOM | dict(lanes=2, columns=2),
    "e5m2":      ROOM | dict(lanes=4, columns=3, kv=("e5m2",)),
    "e4m3":      ROOM | dict(lanes=8, columns=4, activations=("e4m3",), kv=("e4m3",)),
    "int4":      ROOM | dict(lanes=4, columns=2, kv=("int4",)),
    "all":       ROOM | dict(lanes=8, columns=8, activations=("int8", "e4m3"), kv=tuple(KV)),
    "all_lanes": ROOM | dict(lanes=32, columns=5, activations=("int8", "e4m3"), kv=tuple(KV)),
}

SIMULATORS = {label: ("verilator",) for label in CONFIGS if label not in ("int8", "e4m3")}


def component(config):
    return Quantiser(Config(name="quantiser", **config))


config = Config(name="quantiser", **current(CONFIGS))

ELEMENTS = [rounding.name for rounding in roundings(config)]

#: Elements that each rule makes of each kind, at least.
LEAST = {"Verilator": 20000, "Icarus Verilog": 5000}


class Machine:
    """Leads the first reading of commands, answers the second one, and collects what comes."""

    def __init__(self, bench, pause=None, pace=1.0):
        self.dut, self.rng, self.pace = bench.dut, bench.rng, pace
        self.board = bench.expect("act", act_write(config), pause=pause)
        self.patience = bench.patience
        self.driven = {}

    def inputs(self, **values):
        for name, value in values.items():
            if self.driven.get(name) != value:
                self.driven[name] = value
                getattr(self.dut, name).value = value

    async def run(self, x, group=1, element="int8", rule="floor", sign="all", target="column",
                  dst=0, per_vector=1, columns=1):
        """Quantise blocks ``x`` [n, 32], and check all that comes of it."""
        expected = halves(x, group, element, rule, sign, target=target, dst=dst,
                          per_vector=per_vector, columns=columns)
        staged, found = target == "staging", []
        if not staged:
            self.board.expect_all(expected)
        self.inputs(blocks=len(x), group=group, element=list(KV).index(element), up=rule == "up",
                    sign=SIGNS.index(sign), dst=dst, staged=staged, per_vector=per_vector,
                    columns=columns, start=1)
        await RisingEdge(self.dut.clk)
        self.inputs(start=0)
        found, written, nans = await self.serve(x.view(np.uint32).reshape(-1, config.lanes))
        assert written == len(x), f"{written} blocks are written of {len(x)}"
        if staged:
            assert found == expected
        codes = quantise(x.ravel(), group, element, rule)[1][::group]
        assert nans == np.sum(codes == 255), f"{nans} groups have a NaN"

    async def serve(self, rows):
        """Answer in each cycle until the quantiser rests; returns what it wrote and told."""
        dut, blocks = self.dut, -(-len(rows) // config.block_rows)
        rows = [int.from_bytes(row.tobytes(), "little") for row in rows]
        garbage = itertools.cycle(self.rng.permutation(np.array(rows, object)).tolist())
        first = second = written = nans = waited = 0
        a, b, staged = None, None, []
        while first < len(rows) or dut.busy.value:
            await FallingEdge(dut.clk)
            inside = first % config.block_rows
            go = (first < len(rows) and self.rng.random() < self.pace
                  and (inside != 0 or bool(dut.space.value)))
            # Data comes a cycle after its address, and is not held.
            self.inputs(a=next(garbage) if a is None else a, b=next(garbage) if b is None else b,
                        row_read=go, block_begin=go and inside == 0,
                        cut=0, a_part=0, b_part=0,
                        block_end=go and inside == config.block_rows - 1,
                        command_end=go and first == len(rows) - 1)
            a = rows[first] if go else None
            b = rows[second] if dut.read.value else None
            first, second = first + go, second + (b is not None)
            assert bool(dut.released.value) == (b is not None and second % config.block_rows == 0)
            if dut.staging.value[0]:
                staged.append(unpack(staging_write(config), int(dut.staging.value)))
                del staged[-1]["en"]
            written, nans = written + int(dut.written.value), nans + int(dut.nan.value)
            waited += 1
            assert waited < 40 * len(rows) + self.patience, f"{written} of {blocks} blocks came"
        return staged, written, nans


@cocotb.test()
@cocotb.parametrize(element=ELEMENTS, rule=["floor", "up"])
async def matches_reference(dut, element, rule):
    """Every tie and limit, special values, and random blocks, in groups of 1 and of more."""
    async with Bench(dut) as bench:
        machine = Machine(bench, pace=0.9)
        x = directed(bench.rng, element)
        least = LEAST[cocotb.SIM_NAME]
        more = max(100, least // BLOCK + 1 - len(x))
        x = bench.rng.permutation(np.concatenate([x, random_blocks(bench.rng, more)]))
        x = x if x.size < 2 * least else x[:least // BLOCK + 1]
        assert x.size >= least
        for group, part in zip((1, 2, 5), np.array_split(x, 3)):
            await machine.run(part, group, element, rule, per_vector=len(part))


@cocotb.test()
@cocotb.parametrize(element=ELEMENTS, sign=["positive", "negative"])
async def other_signs_become_zero(dut, element, sign):
    """The codes are those of all elements; also where nothing is left of a block."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        x = bench.rng.permutation(directed(bench.rng, element))[:100]
        x = np.concatenate([x, random_blocks(bench.rng, 60), np.abs(x[:9]), -np.abs(x[:9])])
        for group, part in zip((1, 3), np.array_split(x, 2)):
            await machine.run(part, group, element, "up", sign, per_vector=len(part))


@cocotb.test()
@cocotb.parametrize(pace=[1.0, 0.4], pause=[never, lambda: sometimes(1, 0.7),
                                           lambda: bursts(2, 100)])
async def stalls_change_nothing(dut, pace, pause):
    """Groups, vectors, columns and targets of all sizes, with pauses of the stream and the unit."""
    async with Bench(dut) as bench:
        machine = Machine(bench, pause(), pace)
        for n in range(12):
            group, vectors, per_vector = (int(bench.rng.integers(1, k)) for k in (16, 5, 20))
            x = random_blocks(bench.rng, vectors * per_vector)
            await machine.run(x, group, ELEMENTS[n % len(ELEMENTS)], ("floor", "up")[n // 2 % 2],
                              SIGNS[n // 3 % len(SIGNS)],
                              "staging" if n % 4 == 3 else "column", int(bench.rng.integers(9)),
                              per_vector, 1 + n % config.columns)
