"""cocotb tests of :class:`hw.matmul.unpacker.Unpacker`."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.formats import BLOCK, FORMATS, Span
from hw.matmul.layouts import tile_beat, unpack_command
from hw.matmul.unpacker import Unpacker
from hw.signatures import format_fields
from verif.array_beats import array_beats
from verif.bench import Bench, current
from verif.reference.beats import HALF
from verif.reference.tape import pack, tiling
from verif.streams import bursts, never, sometimes


SMALL = dict(data_bits=32, w_fifo=1024, d_fifo=1024, burst=32)

CONFIGS = {
    "fp16_1":     dict(slices=1, formats=["int8", "int4"]),
    "fp16_2":     dict(slices=2, formats=["int8", "int4"]),
    "fp16_8":     dict(slices=8, formats=["int8", "int4"]),
    "codes_2":    dict(slices=2, formats=["mxint8", "mxfp4"]),
    "codes_4":    dict(slices=4, formats=["mxfp8"]),
    "both_1":     dict(slices=1, formats=["int8", "mxfp4"]),
    "packed_2":   dict(slices=2, formats=["mxfp6", "mxfp4"]),
    "spans_2":    dict(slices=2, formats=["int4g128", "int8row", "int4"]),
    "all_1":      dict(slices=1, formats=list(FORMATS)),
    "all_4":      dict(slices=4, formats=list(FORMATS)),
}


def component(config):
    return Unpacker(Config(name="test", slices=config["slices"], **SMALL),
                    [FORMATS[name] for name in config["formats"]])


chosen = current(CONFIGS)
config = Config(name="test", slices=chosen["slices"], **SMALL)


def matrix(rng, rows, size, format):
    """Any codes and scales: ``(weights, scales, format, factor)``."""
    weights = rng.choice(format.element.numbers.astype(int), (rows, size))
    scales  = rng.integers(0, 256, (rows, format.scales(size) * format.scale.dtype.itemsize),
                           np.uint8).view(format.scale.dtype)
    return weights, scales, format, np.float32(rng.normal()) if format.factor else None


def random_matrices(rng, number):
    for n in range(number):
        name = chosen["formats"][n % len(chosen["formats"])]
        format = FORMATS[name]
        # Any number of rows: heights of all sizes occur, and groups of all sizes.
        rows, size = int(rng.integers(1, 40 * config.slices)), 16 * int(rng.integers(1, 24))
        yield matrix(rng, rows, size + size % BLOCK * format.whole, format)


def command(weights, scales, format, factor):
    tiles, height, tail = tiling(len(weights), config.slices, format)
    fields = format_fields(format)
    return {name: fields[name] for name in ("four", "six", "double", "wide", "span", "factor")} | {
        "halves": weights.shape[1] // HALF, "tiles": tiles, "height": height, "tail": tail}


def unpacked(weights, scales, format, factor):
    """Beats with their scales, straight from the definition."""
    tiles, height, tail = tiling(len(weights), config.slices, format)
    fields = np.ascontiguousarray(scales).view(f"<u{format.scale.bytes}")
    each = {Span.BLOCK: 1, Span.FOUR: 4, Span.ROW: fields.shape[1] * 4096}[format.span]
    row = 0
    for tile in range(tiles):
        rows = (tail if tile == tiles - 1 else height) * config.slices
        w, s = [np.pad(a[row:row + rows], ((0, max(0, row + rows - len(a))), (0, 0)))
                .reshape(-1, config.slices, a.shape[1]) for a in (weights, fields)]
        row += rows
        beats = list(array_beats(w, format))
        for beat in beats:
            yield {"beat": {"data": beat.pieces,
                            "scale": s[beat.field_row, :, beat.block // each]},
                   "last": beat is beats[-1]}


def raw(*each):
    weights, scales, format, factor = each
    tape, size = pack(weights, scales, format, config.slices, factor), config.beat_bytes
    return [int.from_bytes(tape[n:n + size], "little") for n in range(0, len(tape), size)]


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1), lambda: bursts(2)],
                    o_pause=[never, lambda: sometimes(3)])
async def beats_come_with_their_scales(dut, pause, o_pause):
    # Factors are rare.
    async with Bench(dut, patience=50000) as bench:
        matrices = list(random_matrices(bench.rng, max(6, 2 * len(chosen["formats"]))))
        factors = bench.expect("factors", pause=o_pause())
        board = bench.expect("o", tile_beat(config), pause=o_pause())
        bench.drive("commands", unpack_command, pause=pause()).start(
            [command(*each) for each in matrices])
        bench.drive("i", pause=pause()).start(
            [beat for each in matrices for beat in raw(*each)])
        for each in matrices:
            board.expect_all(unpacked(*each))
            if each[-1] is not None:
                factors.expect(each[-1].view(np.uint32))


@cocotb.test()
async def a_beat_comes_or_goes_in_each_cycle(dut):
    async with Bench(dut) as bench:
        format = FORMATS[chosen["formats"][0]]
        each = matrix(bench.rng, 40 * config.slices, 96, format)
        beats = raw(*each)
        board = bench.expect("o", tile_beat(config))
        wanted = list(unpacked(*each))
        board.expect_all(wanted)
        await bench.drive("commands", unpack_command).send(command(*each))
        # The command is prepared.
        await bench.cycles(8)
        driver = bench.drive("i")
        task, cycles = driver.start(beats), 0
        while not task.done():
            await RisingEdge(dut.clk)
            cycles += 1
        if format.six:
            # Three raw beats are four.
            scales = len(beats) - 3 * len(wanted) // 4
            beats = range(len(wanted) + scales)
        assert cycles <= len(beats) + 2, f"{cycles} cycles for {len(beats)} beats"
