"""Bench of the forwarder before the router: the newest token comes from the staging memory."""

import cocotb
import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge

from hw.attention.forwarder import Forwarder
from hw.attention.geometry import forward_job, value_row
from hw.attention.router import Router
from hw.config import Config
from hw.formats import KV
from hw.memory.staging import Staging, staging_write
from hw.signatures import Part, kv_part
from verif.bench import Bench, current
from verif.packing import pack
from verif.reference.kv import Places
from verif.reference.pattern import parts
from verif.streams import StreamMonitor, bursts, never, sometimes


CONFIGS = {
    "one_slice":   dict(name="test", data_bits=32, slices=1, max_head=128, forward=1),
    "two_slices":  dict(name="test", data_bits=128, slices=2, max_head=64, forward=1),
    "four_slices": dict(name="test", data_bits=128, slices=4, max_head=128, forward=1),
    "server":      dict(name="test", data_bits=512, slices=8, max_head=256, forward=1,
                        kv_staging=64, d_fifo=16384, w_fifo=16384),
    "many_slices": dict(name="test", data_bits=512, slices=64, max_head=128, forward=1,
                        d_fifo=8192, w_fifo=8192),
    "one_packed":  dict(name="test", data_bits=32, slices=1, max_head=64, forward=1,
                        kv=("int8", "int4")),
    "two_packed":  dict(name="test", data_bits=128, slices=2, max_head=128, forward=1,
                        kv=("int4", "int8")),
    "wide_packed": dict(name="test", data_bits=512, slices=16, max_head=128, burst=16, d_fifo=4096,
                        w_fifo=4096, forward=1, kv=("int8", "int4")),
}

SIMULATORS = {name: ("verilator",) for name in CONFIGS if name not in ("one_slice", "two_slices")}

BLOCK = 32


class Forwarding(wiring.Component):
    """Staging memory, forwarder and router."""

    def __init__(self, config):
        self.config = config
        beat = stream.Signature(8 * config.beat_bytes)
        super().__init__({
            "staging": In(staging_write(config)),
            "jobs": In(stream.Signature(forward_job)), "parts": In(stream.Signature(kv_part)),
            "d": In(beat), "keys": Out(beat), "codes": Out(stream.Signature(8 * BLOCK)),
            "values": Out(stream.Signature(value_row(config))),
            "passed": Out(beat),                         # what leaves the forwarder; always ready
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.staging   = staging   = Staging(self.config)
        m.submodules.forwarder = forwarder = Forwarder(self.config)
        m.submodules.router    = router    = Router(self.config)
        wiring.connect(m, wiring.flipped(self.jobs), forwarder.jobs)
        wiring.connect(m, wiring.flipped(self.parts), router.parts)
        wiring.connect(m, wiring.flipped(self.d), forwarder.i)
        wiring.connect(m, forwarder.o, router.d)
        wiring.connect(m, forwarder.staged, staging.forwarded)
        for name in ("keys", "codes", "values"):
            wiring.connect(m, getattr(router, name), wiring.flipped(getattr(self, name)))
        m.d.comb += [staging.write.eq(self.staging), forwarder.dealing.eq(router.dealing),
                     forwarder.fetch.eq(router.fetch),
                     self.passed.payload.eq(forwarder.o.payload),
                     self.passed.valid.eq(forwarder.o.valid & forwarder.o.ready)]
        return m


def component(config):
    return Forwarding(Config(**config))


config = Config(**current(CONFIGS))


def numbers(beats):
    return [int.from_bytes(beat.tobytes(), "little") for beat in beats]


class Token:
    """A staged token: heads with random keys and values, of which memory has something else."""

    def __init__(self, rng, heads, head_blocks, position, kv):
        self.rng, self.heads, self.head_blocks = rng, heads, head_blocks
        self.position, self.kv, self.packed = position, kv, KV[kv].packed
        self.blocks = rng.integers(0, 256, (2, heads, head_blocks, BLOCK)).astype(np.uint8)
        if self.packed:
            self.blocks &= 0xF0
        self.codes = rng.integers(0, 256, (2, heads, head_blocks)).astype(np.uint8)

    def staged(self):
        """Blocks and codes in the order of the staging memory."""
        return self.blocks.reshape(-1, BLOCK).view(np.int8), self.codes.reshape(-1)

    def job(self, head):
        return {"heads": self.heads, "head": head, "head_blocks": self.head_blocks,
                "packed": self.packed, "token": self.position % BLOCK}

    def walk(self, head, ahead):
        """Parts of the head, as ``(announcement, beats that memory has, beats as they should be)``.

        Of the token's bytes memory has some already.
        """
        size, blocks = self.head_blocks, self.position // BLOCK + 1
        lines = config.kv_lines(size, self.packed) * config.line_bytes
        right = self.rng.integers(0, 256, (blocks, lines), np.uint8)
        wrong = right.copy()
        places = Places(config, 0, self.position % BLOCK, size, packed=self.packed)
        last, (keys, values) = right[-1], self.blocks[:, head].reshape(2, -1)
        places.keys.put(last, keys)
        places.values.put(last, values)
        last[places.key_codes] = self.codes[0, head]
        last[places.value_code] = self.codes[1, head, 0]
        changed = np.flatnonzero(wrong[-1] != last)
        some = self.rng.random(len(changed)) < self.rng.random()
        wrong[-1, changed[some]] = last[changed[some]]
        beats = sum(config.part_beats(size, self.packed))
        cut = config.part_beats(size, self.packed)[0]
        for kind, _, n in parts([range(blocks)], ahead):
            own = slice(0, cut) if kind == "keys" else slice(cut, beats)
            found, wanted = (image[n].reshape(-1, config.beat_bytes)[own]
                             for image in (wrong, right))
            yield ({"kind": Part[kind.upper()], "head_blocks": size, "packed": self.packed,
                    "number": n, "first": n == 0, "last": n == blocks - 1,
                    "forward": n == blocks - 1}, found, wanted)


class Streams:
    """Drivers, and monitors of what leaves the forwarder and the router."""

    def __init__(self, bench, pauses=(never,) * 6):
        pauses = [pause() for pause in pauses]
        self.dut = bench.dut
        self.jobs = bench.drive("jobs", forward_job, pause=pauses[0])
        self.parts = bench.drive("parts", kv_part, pause=pauses[1])
        self.d = bench.drive("d", pause=pauses[2])
        self.passed = bench.expect("passed")
        for name, pause in zip(("keys", "codes", "values"), pauses[3:], strict=True):
            StreamMonitor(bench.dut, name, pause=pause)

    async def stage(self, token):
        for n, (block, code) in enumerate(zip(*token.staged(), strict=True)):
            for half in range(2):
                self.dut.staging.value = pack(staging_write(config), {
                    "en": 1, "address": n, "half": half, "code": int(code),
                    "data": block[16 * half:][:16]})
                await RisingEdge(self.dut.clk)
        self.dut.staging.value = 0


def tokens(rng, number):
    """Random tokens of heads that fit the staging memory."""
    for n in range(number):
        head_blocks = int(rng.integers(1, config.max_head_blocks + 1))
        most = min(31, config.kv_staging // (2 * head_blocks))
        position = [31, 0, 15, 48, 63, int(rng.integers(0, 96))][n % 6]
        yield Token(rng, int(rng.integers(1, min(most, 4) + 1)), head_blocks, position,
                    str(rng.choice(config.kv)))


@cocotb.test()
@cocotb.parametrize(pauses=[
    (never,) * 6,
    tuple(lambda n=n: sometimes(n, 0.4) for n in range(6)),
    (lambda: bursts(1, 100), never, lambda: bursts(2, 20), lambda: bursts(3, 50),
     lambda: bursts(4, 90), lambda: bursts(5, 50))])
async def the_newest_token_is_what_was_staged(dut, pauses):
    """Whatever memory has of it; all other bytes are as they come."""
    async with Bench(dut, patience=20000) as bench:
        streams = Streams(bench, pauses)
        for token in tokens(bench.rng, 6 if config.slices > 16 else 12):
            await streams.stage(token)
            # Heads in any order, and some twice: more queries than attend together.
            heads = bench.rng.integers(0, token.heads, token.heads + 1)
            walks = [part for head in heads for part in token.walk(head, config.keys_ahead)]
            for _, _, wanted in walks:
                streams.passed.expect_all(numbers(wanted))
            streams.parts.start([part for part, _, _ in walks])
            streams.jobs.start([token.job(head) for head in heads])
            await streams.d.send_all([beat for _, found, _ in walks for beat in numbers(found)])


@cocotb.test()
async def keys_wait_for_their_attend(dut):
    """No beat of a block with the newest token passes before the job is there; others do."""
    async with Bench(dut) as bench:
        streams = Streams(bench)
        token = Token(bench.rng, 1, 1, 40, config.kv[0])
        await streams.stage(token)
        walk = [*token.walk(0, 1)]
        before = len(walk[0][1])
        for _, _, wanted in walk:
            streams.passed.expect_all(numbers(wanted))
        streams.parts.start([part for part, _, _ in walk])
        streams.d.start([beat for _, found, _ in walk for beat in numbers(found)])
        await bench.cycles(600)
        assert streams.d.sent == before
        await streams.jobs.send(token.job(0))


@cocotb.test()
async def parts_of_other_walks_are_left_alone(dut):
    """And none of them takes a job."""
    async with Bench(dut) as bench:
        streams = Streams(bench)
        token = Token(bench.rng, 1, 1, 33, config.kv[0])
        await streams.stage(token)
        await streams.jobs.send(token.job(0))
        walk = [(part | {"forward": 0}, found, found) for part, found, _ in token.walk(0, 1)]
        walk += token.walk(0, 1)
        for _, _, wanted in walk:
            streams.passed.expect_all(numbers(wanted))
        streams.parts.start([part for part, _, _ in walk])
        await streams.d.send_all([beat for _, found, _ in walk for beat in numbers(found)])


@cocotb.test()
async def a_block_is_held_up_for_few_cycles(dut):
    """Each beat that changes waits for its words, and for the one that is collected before it."""
    async with Bench(dut) as bench:
        streams = Streams(bench)
        token = Token(bench.rng, 1, config.max_head_blocks, 9, config.kv[-1])
        await streams.stage(token)
        await streams.jobs.send(token.job(0))
        walk = [*token.walk(0, 1)]
        beats = [beat for _, found, _ in walk for beat in numbers(found)]
        streams.passed.expect_all([beat for _, _, wanted in walk for beat in numbers(wanted)])
        streams.parts.start([part for part, _, _ in walk])
        await bench.cycles(4)
        sending, cycles = streams.d.start(beats), 0
        while not sending.done():
            await RisingEdge(dut.clk)
            cycles += 1
        # Of packed parts nearly all beats become two.
        free = (2 if token.packed else 1) * len(beats)
        size = config.max_head_blocks
        words = 3 * size * max(1, 16 // config.word_bytes) + 2 * size * config.beat_words + 2
        assert cycles <= free + 2 * words + 12, (cycles, free, words)
