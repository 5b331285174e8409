"""Bench of the transposer: tiles of random heights, under stalls."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.attention.geometry import value_row
from hw.attention.transposer import Transposer
from hw.config import Config
from hw.signatures import beat
from verif.bench import Bench, current
from verif.reference.transposer import transpose
from verif.streams import bursts, never, sometimes


CONFIGS = {
    "one_slice":   dict(name="test", data_bits=32, slices=1),
    "two_slices":  dict(name="test", data_bits=32, slices=2),
    "eight_slices": dict(name="test", data_bits=128, slices=8),
}

SIMULATORS = {"eight_slices": ("verilator",)}


def component(config):
    return Transposer(Config(**config))


config = Config(**current(CONFIGS))


def wide(piece):
    """16 bytes as an integer."""
    return int.from_bytes(bytes(np.asarray(piece, np.uint8)), "little")


def rows_of(tile, height):
    return [{"data": [wide(piece) for piece in row.reshape(-1, 16)], "height": height}
            for row in tile]


def beats_of(tile, height):
    return [{"data": [wide(piece) for piece in pieces], "scale": [0] * config.slices}
            for pieces in transpose(tile, config.slices, height)]


@cocotb.test()
@cocotb.parametrize((("i_pause", "o_pause"), [
    (never, never), (lambda: sometimes(1), lambda: bursts(2, 90)), (never, lambda: sometimes(3)),
    (lambda: bursts(4), never)]))
async def tiles_are_transposed(dut, i_pause, o_pause):
    async with Bench(dut) as bench:
        driver = bench.drive("i", value_row(config), pause=i_pause())
        board = bench.expect("o", beat(config), pause=o_pause())
        for height in [16, 1, 2, 16, 16, *bench.rng.integers(1, 17, 4)]:
            tile = bench.rng.integers(0, 256, (32, config.beat_bytes))
            board.expect_all(beats_of(tile, int(height)))
            await driver.send_all(rows_of(tile, int(height)))


@cocotb.test()
async def a_tile_leaves_while_the_next_comes(dut):
    async with Bench(dut) as bench:
        driver = bench.drive("i", value_row(config))
        board = bench.expect("o", beat(config))
        tiles = bench.rng.integers(0, 256, (6, 32, config.beat_bytes))
        for tile in tiles:
            board.expect_all(beats_of(tile, 16))
        driver.start([row for tile in tiles for row in rows_of(tile, 16)])
        cycles = {}
        for cycle in range(32 * len(tiles) + 40):
            await RisingEdge(dut.clk)
            cycles.setdefault(("sent", driver.sent), cycle)
            cycles.setdefault(("matched", board.matched), cycle)
        # Transfers are counted in the cycle after.
        assert cycles["matched", 1] - cycles["sent", 32] == Transposer.latency
        whole = cycles["matched", 32 * len(tiles)] - cycles["matched", 1]
        assert whole == 32 * len(tiles) - 1, whole
