"""Bench of the router: the beats of parts of KV blocks go to those who take them, under stalls."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.attention.geometry import value_row
from hw.attention.router import Router
from hw.config import Config
from hw.formats import KV
from hw.signatures import Part, kv_part
from verif.bench import Bench, current
from verif.packing import unpack
from verif.reference.kv import kv_read, unfold
from verif.reference.pattern import parts
from verif.streams import bursts, never, sometimes


CONFIGS = {
    "one_slice":   dict(name="test", data_bits=32, slices=1, max_head=64),
    "four_slices": dict(name="test", data_bits=32, slices=4, max_head=128, pages=64),
    "wide_beats":  dict(name="test", data_bits=512, slices=16, max_head=128, burst=16,
                        d_fifo=4096, w_fifo=4096),
    "one_slice_packed":   dict(name="test", data_bits=32, slices=1, max_head=64,
                               kv=("int8", "int4"), pages=64),
    "two_slices_packed":  dict(name="test", data_bits=32, slices=2, max_head=128,
                               kv=("int8", "int4")),
    "wide_beats_packed":  dict(name="test", data_bits=512, slices=16, max_head=128, burst=16,
                               d_fifo=4096, w_fifo=4096, kv=("int4",), pages=64),
}

#: Beats of a section of packed keys.
SECTION = 17


def component(config):
    return Router(Config(**config))


config = Config(**current(CONFIGS))


def numbers(beats):
    return [int.from_bytes(beat.tobytes(), "little") for beat in beats]


def unpacked(keys):
    """Beats of bytes of packed keys: all but the scales become two."""
    sections = [keys[n:n + SECTION] for n in range(0, len(keys), SECTION)]
    return np.concatenate([np.concatenate([section[:1], unfold(section[1:])])
                           for section in sections])


class Streams:
    """Drivers and monitors, and what is sent and expected."""

    def __init__(self, bench, pauses=(None,) * 5):
        self.rng = bench.rng
        parts_pause, d_pause, keys_pause, codes_pause, values_pause = pauses
        self.parts  = bench.drive("parts", kv_part, pause=parts_pause)
        self.d      = bench.drive("d", pause=d_pause)
        self.keys   = bench.expect("keys", pause=keys_pause)
        self.codes  = bench.expect("codes", pause=codes_pause)
        self.values = bench.expect("values", value_row(config), pause=values_pause)

    def bounds(self, head_blocks, kv):
        """A block of bounds: its part, and its beats."""
        packed = KV[kv].packed
        beats = self.rng.integers(
            0, 256, (config.key_beats(2 * head_blocks, packed), config.beat_bytes), np.uint8)
        self.keys.expect_all(numbers(unpacked(beats) if packed else beats))
        return ({"kind": Part.BOUNDS, "head_blocks": head_blocks, "packed": packed},
                numbers(beats))

    def head(self, head_blocks, blocks, ahead, kv="int8"):
        """Parts of a head with random bytes, in a legal order."""
        packed = KV[kv].packed
        lines = config.kv_lines(head_blocks, packed) * blocks
        image = self.rng.integers(0, 256, lines * config.line_bytes, np.uint8)
        lengths = config.part_beats(head_blocks, packed)
        for kind, _, n in parts([range(blocks)], ahead):
            beats = image.reshape(blocks, -1)[n, :sum(lengths) * config.beat_bytes]
            beats = beats.reshape(-1, config.beat_bytes)
            if kind == "keys":
                beats = beats[:lengths[0]]
                keys = beats[:config.key_beats(head_blocks, packed)]
                self.keys.expect_all(numbers(unpacked(keys) if packed else keys))
                *_, wanted = kv_read(image, config, 0, 32 * (n + 1), head_blocks, kv)
                self.codes.expect(numbers([wanted[-32:]])[0])
            else:
                beats = beats[lengths[0]:]
                tile = 2 * config.value_pitch(head_blocks)
                rows = unfold(beats) if packed else beats
                for row, number in enumerate(numbers(rows), 1):
                    self.values.expect({"last": row % tile == 0, "data": unpack(
                        value_row(config)["data"].shape, number)})
            yield ({"kind": Part[kind.upper()], "head_blocks": head_blocks, "packed": packed,
                    "number": n}, numbers(beats))


@cocotb.test()
@cocotb.parametrize(pauses=[
    lambda: (never(), never(), never(), never(), never()),
    lambda: (sometimes(0), sometimes(1), sometimes(2), sometimes(3, 0.9), sometimes(4)),
    lambda: (bursts(8, 90), never(), bursts(5, 50), bursts(6, 200), bursts(7, 50))])
async def every_beat_goes_where_it_belongs(dut, pauses):
    async with Bench(dut) as bench:
        streams = Streams(bench, pauses())
        sent = []
        for head_blocks, blocks, ahead in ((1, 1, 3), (2, 4, 2), (3, 1, 1), (1, 6, 3), (4, 2, 1)):
            if head_blocks <= config.max_head_blocks:
                for kv in bench.rng.permutation(config.kv):
                    sent += streams.head(head_blocks, blocks, ahead, kv)
                    if config.pages:
                        sent += [streams.bounds(head_blocks, kv) for _ in range(2)]
        streams.parts.start([part for part, _ in sent])
        await streams.d.send_all([beat for _, beats in sent for beat in beats])


@cocotb.test()
async def parts_follow_each_other_without_a_gap(dut):
    async with Bench(dut) as bench:
        streams = Streams(bench)
        sent = [*streams.head(1, 5, 3, config.kv[-1])]
        beats = [beat for _, own in sent for beat in own]
        # Of packed parts all beats but those of scales and codes become two.
        wanted = len(beats)
        if config.packs:
            wanted += 5 * (config.key_beats(1, True) - config.key_tiles
                           + config.value_beats(1, True))
        streams.parts.start([part for part, _ in sent])
        await bench.cycles(3)
        sending = streams.d.start(beats)
        cycles = 0
        while not sending.done():
            await RisingEdge(dut.clk)
            cycles += 1
        # One is for the start.
        assert cycles <= wanted + 1, cycles - wanted
