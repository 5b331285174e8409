"""cocotb tests of :class:`hw.matmul.unpacker.Unpacker`."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.matmul.layouts import tile_beat, unpack_command
from hw.matmul.unpacker import Unpacker
from verif.bench import Bench, current
from verif.reference.tape import BLOCK, HALF, pack, tiling
from verif.streams import bursts, never, sometimes


SMALL = dict(data_bits=32, w_fifo=1024, d_fifo=1024, burst=32)

CONFIGS = {
    "weights_1": dict(slices=1, scale_bytes=[2]),
    "weights_2": dict(slices=2, scale_bytes=[2]),
    "weights_8": dict(slices=8, scale_bytes=[2]),
    "codes_2":   dict(slices=2, scale_bytes=[1]),
    "codes_4":   dict(slices=4, scale_bytes=[1]),
    "both_1":    dict(slices=1, scale_bytes=[1, 2]),
    "both_4":    dict(slices=4, scale_bytes=[1, 2]),
}


def component(config):
    return Unpacker(Config(name="test", slices=config["slices"], **SMALL), config["scale_bytes"])


chosen = current(CONFIGS)
config = Config(name="test", slices=chosen["slices"], **SMALL)
SCALES = [np.dtype(f"u{size}") for size in chosen["scale_bytes"]]


def matrix(rng, rows, size, format):
    scale_type = rng.choice(SCALES)
    low = 8 if format == "int4" else 128
    weights = rng.integers(-low, low, (rows, size))
    return weights, rng.integers(0, np.iinfo(scale_type).max + 1, (rows, -(-size // BLOCK)),
                                 scale_type)


def random_matrices(rng, number):
    for _ in range(number):
        format = str(rng.choice(["int4", "int8"]))
        # Any number of rows: heights of all sizes occur, and groups of all sizes.
        rows, size = int(rng.integers(1, 40 * config.slices)), 16 * int(rng.integers(1, 24))
        yield *matrix(rng, rows, size + size % BLOCK * (format == "int4"), format), format


def command(weights, scales, format):
    tiles, height, tail = tiling(len(weights), config.slices, format)
    return {"four": format == "int4", "wide": scales.itemsize == 2,
            "halves": weights.shape[1] // HALF, "tiles": tiles, "height": height, "tail": tail}


def unpacked(weights, scales, format):
    """Beats with their scales, straight from the definition."""
    tiles, height, tail = tiling(len(weights), config.slices, format)
    row = 0
    for tile in range(tiles):
        rows = (tail if tile == tiles - 1 else height) * config.slices
        part = [np.pad(a[row:row + rows], ((0, max(0, row + rows - len(a))), (0, 0)))
                for a in (weights, scales)]
        row += rows
        w, s = (a.reshape(-1, config.slices, a.shape[1]) for a in part)
        step = 2 if format == "int4" else 1
        halves = weights.shape[1] // HALF
        for block in range(-(-halves // 2)):
            for i in range(0, len(w), step):
                for half in (0, 1):
                    h = 2 * block + half
                    if h == halves:
                        continue
                    piece = w[i, :, h * HALF:h * HALF + HALF].astype(np.uint8)
                    if step == 2:
                        piece = piece & 15 | w[i + 1, :, h * HALF:h * HALF + HALF].astype(
                            np.uint8) << 4
                    last = block == -(-halves // 2) - 1 and i + step >= len(w) and (
                        half or halves == h + 1)
                    yield {"beat": {
                        "data": [int.from_bytes(p.tobytes(), "little") for p in piece],
                        "scale": s[i + (half if step == 2 else 0), :, block],
                    }, "last": last}


def raw(weights, scales, format):
    tape, size = pack(weights, scales, format, config.slices), config.beat_bytes
    return [int.from_bytes(tape[n:n + size], "little") for n in range(0, len(tape), size)]


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1), lambda: bursts(2)],
                    o_pause=[never, lambda: sometimes(3)])
async def beats_come_with_their_scales(dut, pause, o_pause):
    async with Bench(dut) as bench:
        matrices = list(random_matrices(bench.rng, 6))
        board = bench.expect("o", tile_beat(config), pause=o_pause())
        bench.drive("commands", unpack_command, pause=pause()).start(
            [command(*each) for each in matrices])
        bench.drive("i", pause=pause()).start(
            [beat for each in matrices for beat in raw(*each)])
        for each in matrices:
            board.expect_all(unpacked(*each))


@cocotb.test()
async def a_raw_beat_is_taken_in_each_cycle(dut):
    async with Bench(dut) as bench:
        each = *matrix(bench.rng, 40 * config.slices, 96, "int8"), "int8"
        beats = raw(*each)
        board = bench.expect("o", tile_beat(config))
        board.expect_all(unpacked(*each))
        await bench.drive("commands", unpack_command).send(command(*each))
        # The command is prepared.
        await bench.cycles(8)
        driver = bench.drive("i")
        task, cycles = driver.start(beats), 0
        while not task.done():
            await RisingEdge(dut.clk)
            cycles += 1
        assert cycles <= len(beats) + 2, f"{cycles} cycles for {len(beats)} beats"
