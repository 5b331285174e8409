"""Bench of the transposer: tiles of random heights, under stalls."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.attention.geometry import turn_job, value_row
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


def rows_of(tile):
    return [{"data": [wide(piece) for piece in row.reshape(-1, 16)], "last": n == len(tile) - 1}
            for n, row in enumerate(tile)]


def beats_of(tile, height):
    return [{"data": [wide(piece) for piece in pieces], "scale": [0] * config.slices}
            for pieces in transpose(tile, config.slices, height)]


def values(rng, tiles, tail, groups):
    """Values of a KV block: the job, the rows, and the beats that are expected."""
    small = tiles == 1 and config.value_pitch(1) < 16
    pitch = 1 << (tail - 1).bit_length() if small else 16
    cubes = rng.integers(0, 256, (tiles, 2 * pitch, config.beat_bytes))
    heights = [16] * (tiles - 1) + [tail]
    return ({"tiles": tiles, "tail": tail, "groups": groups},
            [row for tile in cubes for row in rows_of(tile)],
            [beat for tile, height in zip(cubes, heights)
             for beat in beats_of(tile, height) * groups])


@cocotb.test()
@cocotb.parametrize((("jobs_pause", "i_pause", "o_pause"), [
    (never, never, never),
    (lambda: sometimes(5), lambda: sometimes(1), lambda: bursts(2, 90)),
    (lambda: bursts(6, 200), never, lambda: sometimes(3)),
    (never, lambda: bursts(4), never)]))
async def tiles_are_transposed(dut, jobs_pause, i_pause, o_pause):
    async with Bench(dut) as bench:
        jobs   = bench.drive("jobs", turn_job, pause=jobs_pause())
        driver = bench.drive("i", value_row(config), pause=i_pause())
        board  = bench.expect("o", beat(config), pause=o_pause())
        sent = [values(bench.rng, *shape) for shape in (
            (1, 16, 1), (1, 1, 1), (1, 1, 3), (2, 2, 1), (1, 2, 2), (1, 4, 1), (1, 8, 2),
            (1, 5, 1), (3, 8, 1), (1, 12, 1),
            *zip(*(map(int, bench.rng.integers(1, limit, 4)) for limit in (4, 17, 5))))]
        for _, _, beats in sent:
            board.expect_all(beats)
        jobs.start([job for job, _, _ in sent])
        await driver.send_all([row for _, rows, _ in sent for row in rows])


@cocotb.test()
@cocotb.parametrize(groups=[1, 2])
async def a_tile_leaves_while_the_next_comes(dut, groups):
    async with Bench(dut) as bench:
        jobs   = bench.drive("jobs", turn_job)
        driver = bench.drive("i", value_row(config))
        board  = bench.expect("o", beat(config))
        sent = [values(bench.rng, tiles, 16, groups) for tiles in (1, 2, 1, 2)]
        for _, _, beats in sent:
            board.expect_all(beats)
        jobs.start([job for job, _, _ in sent])
        driver.start([row for _, rows, _ in sent for row in rows])
        number, cycles = 32 * groups * 6, {}
        for cycle in range(number + 80):
            await RisingEdge(dut.clk)
            cycles.setdefault(("sent", driver.sent), cycle)
            cycles.setdefault(("matched", board.matched), cycle)
        # Transfers are counted in the cycle after.
        assert cycles["matched", 1] - cycles["sent", 32] == Transposer.latency
        whole = cycles["matched", number] - cycles["matched", 1]
        assert whole == number - 1, whole
