"""Bench of the router: the beats of KV blocks go to those who take them, under stalls."""

import cocotb
import numpy as np

from hw.attention.geometry import router_job, value_row, value_tail
from hw.attention.router import Router
from hw.config import Config
from verif.bench import Bench, current
from verif.packing import unpack
from verif.reference.kv import kv_read
from verif.streams import bursts, never, sometimes


CONFIGS = {
    "one_slice":   dict(name="test", data_bits=32, slices=1, max_head=64),
    "four_slices": dict(name="test", data_bits=32, slices=4, max_head=128),
}


def component(config):
    return Router(Config(**config))


config = Config(**current(CONFIGS))


def number(beat):
    return int.from_bytes(beat.tobytes(), "little")


async def deal(bench, head_blocks, blocks, streams):
    """Send the random beats of a head, and expect each of them where it belongs."""
    jobs, d, keys, codes, values = streams
    lines = config.kv_lines(head_blocks) * blocks
    image = bench.rng.integers(0, 256, lines * config.line_bytes, np.uint8)
    groups = config.value_groups(head_blocks)
    parts = np.cumsum([config.key_beats(head_blocks), config.value_scale_beats, 32 * groups])
    beats = []
    for n, block in enumerate(image.reshape(blocks, -1)):
        block = block[:config.kv_beats(head_blocks) * config.beat_bytes]
        block = block.reshape(-1, config.beat_bytes)
        beats += [number(beat) for beat in block]
        keys.expect_all(number(beat) for beat in block[:parts[0]])
        *_, wanted = kv_read(image, config, 0, 32 * (n + 1), head_blocks)
        codes.expect(number(wanted[-32:]))
        for group in range(groups):
            height = value_tail(config, head_blocks) if group == groups - 1 else 16
            for beat in block[parts[1]:parts[2]][32 * group:32 * group + 32]:
                values.expect({"data": unpack(value_row(config)["data"].shape, number(beat)),
                               "height": height})
    await jobs.send({"head_blocks": head_blocks, "blocks": blocks})
    await d.send_all(beats)


@cocotb.test()
@cocotb.parametrize((("d_pause", "keys_pause", "codes_pause", "values_pause"), [
    (never, never, never, never),
    (lambda: sometimes(1), lambda: sometimes(2), lambda: sometimes(3, 0.9), lambda: sometimes(4)),
    (never, lambda: bursts(5, 50), lambda: bursts(6, 200), lambda: bursts(7, 50))]))
async def every_beat_goes_where_it_belongs(dut, d_pause, keys_pause, codes_pause, values_pause):
    async with Bench(dut) as bench:
        streams = (bench.drive("jobs", router_job), bench.drive("d", pause=d_pause()),
                   bench.expect("keys", pause=keys_pause()),
                   bench.expect("codes", pause=codes_pause()),
                   bench.expect("values", value_row(config), pause=values_pause()))
        for head_blocks, blocks in ((1, 1), (2, 2), (3, 1), (1, 3), (4, 1)):
            if head_blocks <= config.max_head_blocks:
                await deal(bench, head_blocks, blocks, streams)
