"""What cocotb benches share: the configuration of the run, clock, reset, and whole-test checks.

A bench of a block with streams reads::

    CONFIGS = {"one_lane": dict(lanes=1), "four_lanes": dict(lanes=4)}

    def component(config):
        return Dot(DotConfig(**config))

    config = DotConfig(**current(CONFIGS))

    @cocotb.test()
    @cocotb.parametrize(i_pause=[never, lambda: sometimes(1)],
                        o_pause=[never, lambda: sometimes(2)])
    async def matches_reference(dut, i_pause, o_pause):
        async with Bench(dut) as bench:
            driver = bench.drive("i", config.beat, pause=i_pause())
            totals = bench.expect("o", config.total, pause=o_pause())
            for a, b in vectors(bench.rng):
                totals.expect(dot(a, b))
                await driver.send_all(beats(a, b))

Leaving the ``async with`` waits until everything expected has come, and fails on anything more.
"""

import json
import os
import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer

from verif.packing import packer, plain, unpacker
from verif.streams import Scoreboard, StreamDriver, StreamMonitor, bits_of, never


__all__ = ["VARIABLE", "current", "seed", "clock", "reset", "pipeline", "Bench"]


#: Environment variable through which the runner tells the bench what it runs, as JSON.
VARIABLE = "TOKAMAC_BENCH"


def run_facts():
    return json.loads(os.environ.get(VARIABLE, "{}"))


def current(configs):
    """The configuration that this simulation runs; the first of ``configs`` outside of one."""
    return run_facts().get("config", next(iter(configs.values())))


def seed():
    """Seed of this run, as cocotb prints it; ``make sim SEED=...`` sets it."""
    return cocotb.RANDOM_SEED


def clock(dut):
    """Start the clock, if the block has one."""
    if hasattr(dut, "clk"):
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())


async def reset(dut, cycles=2):
    """Hold reset for some cycles, with every input at zero."""
    for name in run_facts().get("inputs", []):
        if name not in ("clk", "rst") and hasattr(dut, name):
            getattr(dut, name).value = 0
    if not hasattr(dut, "clk"):
        await Timer(10, unit="ns")
        return
    dut.rst.value = 1
    for _ in range(cycles):
        await RisingEdge(dut.clk)
    dut.rst.value = 0


async def pipeline(dut, inputs, outputs, latency, *, enable=None, pause=None):
    """Feed a fixed-latency block one row of inputs each cycle; return the rows of its outputs.

    Inputs carry garbage in cycles that do not count.

    Parameters
    ----------
    inputs : dict
        Port name -> sequence of bits, or -> ``(shape, sequence of values)``. All of equal length.
    outputs : dict or iterable
        Port name -> shape (``None`` for bits), or just port names.
    latency : int
        Enabled clock edges from the one that takes the inputs to the one after which the outputs
        hold their result; 0 for a combinational path.
    enable : str or None
        Port that lets the pipeline advance: low in the cycles in which ``pause`` yields true.

    Returns
    -------
    dict
        Port name -> list with one value for each row of the inputs.
    """
    outputs = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs)
    columns = {}
    for name, column in inputs.items():
        if isinstance(column, tuple):
            shape, values = column
            columns[name] = [*map(packer(shape), values)]
        else:
            columns[name] = plain(column)
    lengths = {len(column) for column in columns.values()}
    assert len(lengths) == 1, f"inputs have different lengths: {sorted(lengths)}"
    (rows,) = lengths
    clocked = hasattr(dut, "clk")
    assert clocked or latency == 0, "a block without a clock has latency 0"
    pause   = never() if pause is None else pause
    garbage = random.Random(0)
    wires   = {name: getattr(dut, name) for name in [*columns, *outputs]}
    unpack  = {name: int if shape is None else unpacker(shape) for name, shape in outputs.items()}
    results = {name: [] for name in outputs}

    advanced = 0
    while advanced < rows + latency:
        running = enable is None or not next(pause)
        if enable is not None:
            getattr(dut, enable).value = running
        for name, column in columns.items():
            counts = running and advanced < rows
            wires[name].value = (column[advanced] if counts
                                 else garbage.getrandbits(len(wires[name])))
        await (RisingEdge(dut.clk) if clocked else Timer(10, unit="ns"))
        # The values sampled here are those from before the edge.
        if running and advanced >= latency:
            for name in outputs:
                results[name].append(unpack[name](bits_of(wires[name], name)))
        advanced += running
    return results


class Bench:
    """One test: starts clock and reset, and at its end checks that nothing is left over.

    Members
    -------
    rng : ``numpy.random.Generator``
        Seeded by the run's seed, so that a failure can be repeated.
    """

    def __init__(self, dut, *, patience=2000):
        self.dut      = dut
        self.patience = patience
        self.rng      = np.random.default_rng(seed())
        self.boards   = []

    async def __aenter__(self):
        clock(self.dut)
        await reset(self.dut)
        return self

    def drive(self, name, shape=None, *, pause=None):
        """Driver of the input stream ``name``."""
        return StreamDriver(self.dut, name, shape, pause=pause)

    def expect(self, name, shape=None, *, pause=None):
        """Scoreboard that checks every transfer of the output stream ``name``."""
        board = Scoreboard(name)
        StreamMonitor(self.dut, name, board.check, shape, pause=pause)
        self.boards.append(board)
        return board

    async def cycles(self, number):
        """Wait for ``number`` rising edges."""
        for _ in range(number):
            await RisingEdge(self.dut.clk)

    async def __aexit__(self, kind, error, traceback):
        if kind is None:
            for board in self.boards:
                await board.finish(self.dut.clk, patience=self.patience)
