"""Bench of the mover on a memory port: its five commands against the reference."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.formats import KV
from hw.signatures import choice
from verif.bench import Bench, current
from verif.memory_system import MoverSystem
from verif.mover_machine import Machine
from verif.reference import memory as reference
from verif.streams import sometimes


CONFIGS = {
    "nano":        dict(name="test", data_bits=32, slices=1, lanes=2, workspace=4096,
                        max_head=128, outstanding=4, pages=64),
    "two_slices":  dict(name="test", data_bits=32, channels=2, slices=2, lanes=8, workspace=4096,
                        max_head=128, w_fifo=2048, outstanding=8, pages=64),
    "four_slices": dict(name="test", data_bits=128, channels=1, slices=4, lanes=4, workspace=8192,
                        max_head=128),
    "many_slices": dict(name="test", data_bits=512, channels=1, slices=64, lanes=32,
                        workspace=16384, max_head=128, d_fifo=8192, pages=64),
    "packed":      dict(name="test", data_bits=32, slices=1, lanes=2, workspace=4096,
                        max_head=128, outstanding=4, pages=64, kv=("int8", "int4")),
    "two_packed":  dict(name="test", data_bits=128, channels=1, slices=2, lanes=8, workspace=4096,
                        max_head=128, w_fifo=2048, outstanding=8, pages=64,
                        kv=("int4", "e4m3")),
    "wide_packed": dict(name="test", data_bits=512, channels=1, slices=16, lanes=16, burst=4,
                        workspace=16384, d_fifo=8192, max_head=64, kv=("int8", "int4")),
    "wide_word":   dict(name="test", data_bits=512, channels=4, slices=16, lanes=16, burst=4,
                        workspace=16384, d_fifo=8192, max_head=64),
}

SIMULATORS = {"nano": ("icarus",), "four_slices": ("icarus",), "many_slices": ("verilator",),
              "wide_word": ("verilator",), "packed": ("icarus",), "two_packed": ("verilator",),
              "wide_packed": ("verilator",)}

SIZE = 1 << 18
BLOCK = 32


def component(config):
    return MoverSystem(Config(**config))


config = Config(**current(CONFIGS))
LINES = SIZE // config.line_bytes


def surround(bench, restless):
    return Machine(bench, config, SIZE, restless)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def gather_copies_blocks(dut, restless):
    """Blocks come to the workspace, none before it is allowed, and each is counted once."""
    async with Bench(dut) as bench:
        machine = surround(bench, restless)
        expected, total = machine.workspace.copy(), 0
        for blocks in (1, 2, 3, 5, 8):
            line = machine.random_line(blocks + 4)
            dst = int(bench.rng.integers(0, config.blocks - blocks + 1))
            reference.gather(machine.image, expected, line, dst, blocks, config)
            await machine.allow(1, blocks)
            await machine.send("gather", line, dst=dst, blocks=blocks, take0=1, raise0=2)
            total += blocks
        await machine.rest()
        assert np.array_equal(machine.workspace, expected)
        assert machine.raised == {("raise0", 2): total}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def gather_waits_for_each_block(dut):
    """Exactly the allowed blocks are written."""
    async with Bench(dut) as bench:
        machine = surround(bench, False)
        before, expected = machine.workspace.copy(), machine.workspace.copy()
        reference.gather(machine.image, expected, 0, 1, 3, config)
        cocotb.start_soon(machine.send("gather", 0, dst=1, blocks=3, take0=5, raise0=6))
        for allowed in range(4):
            await bench.cycles(150)
            edge = BLOCK * (1 + allowed)
            assert np.array_equal(machine.workspace[:edge], expected[:edge])
            assert np.array_equal(machine.workspace[edge:], before[edge:])
            assert machine.raised.get(("raise0", 6), 0) == allowed
            await machine.allow(5)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def scatter_copies_blocks(dut, restless):
    """Blocks come to memory and nothing beside them changes; the end is told once it is there."""
    async with Bench(dut) as bench:
        machine = surround(bench, restless)
        expected, total = machine.image.copy(), 0
        sizes = (1, 2, 3, 4, 5)
        for blocks in sizes:
            line = machine.random_line(blocks)
            a = int(bench.rng.integers(0, config.blocks - blocks + 1))
            reference.scatter(expected, machine.workspace, line, a, blocks, config)
            await machine.allow(1, blocks)
            await machine.send("scatter", line, a=a, blocks=blocks, take0=1, raise0=2, raise1=3)
            total += blocks
        await machine.rest()
        assert np.array_equal(machine.image, expected)
        assert machine.raised == {("raise0", 2): len(sizes), ("raise1", 3): total}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def scatter_tells_its_end_when_it_is_in_memory(dut):
    """At the raise, memory has every byte."""
    async with Bench(dut) as bench:
        machine = surround(bench, True)
        expected = machine.image.copy()
        reference.scatter(expected, machine.workspace, 8, 3, 4, config)
        await machine.send("scatter", 8, a=3, blocks=4, raise0=2)
        assert not np.array_equal(machine.image, expected), "memory is slower than the command"
        while ("raise0", 2) not in machine.raised:
            await RisingEdge(dut.clk)
        assert np.array_equal(machine.image, expected)
        await machine.rest()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def append_follows_the_layout(dut, restless):
    """Every token of random geometry lands where the reference puts it; no other byte changes."""
    async with Bench(dut, patience=20000) as bench:
        machine = surround(bench, restless)
        expected, heads_done, blocks_done = machine.image.copy(), 0, 0
        geometries = [(heads, head_blocks) for head_blocks in (1, 2, 3, 4) for heads in (1, 2)
                      if head_blocks <= config.max_head_blocks
                      and 2 * heads * head_blocks <= config.kv_staging]
        for n, (heads, head_blocks) in enumerate(geometries * 2):
            more = machine.random_more(heads, head_blocks)
            of_token = 2 * heads * head_blocks
            number = of_token * (1 + more)
            behind = int(number + of_token <= config.kv_staging and bench.rng.random() < 0.5)
            staged = bench.rng.integers(-128, 128, (number + behind * of_token, BLOCK))
            codes = bench.rng.integers(0, 256, len(staged))
            kv = str(bench.rng.choice(config.kv))
            stride = config.kv_lines(head_blocks, KV[kv].packed) * 4
            position = [31, 0, 16, 65, int(bench.rng.integers(0, 96))][n % 5]
            line = int(bench.rng.integers(0, LINES - heads * stride))
            await machine.stage(staged, codes)
            reference.append(expected, staged.astype(np.int8), codes, line, position, heads,
                             head_blocks, stride, config, more=more, behind=behind, kv=kv)
            await machine.allow(4, number)
            await machine.send("append", line, position, heads=heads, head_blocks=head_blocks,
                               head_stride=stride, more=more, behind=behind, kv=kv, take0=4,
                               raise0=7, raise1=8)
            # The staging memory may be written again as soon as the command has ended.
            heads_done, blocks_done = heads_done + heads, blocks_done + number
        await machine.rest()
        assert np.array_equal(machine.image, expected)
        assert machine.raised == {("raise0", 7): heads_done, ("raise1", 8): blocks_done}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def append_tells_each_head_when_it_is_in_memory(dut):
    """At the n-th raise, the bytes of n heads are there."""
    async with Bench(dut) as bench:
        machine = surround(bench, True)
        heads = 3
        staged = bench.rng.integers(-128, 128, (2 * heads, BLOCK))
        codes = bench.rng.integers(0, 256, 2 * heads)
        await machine.stage(staged, codes)
        stride = config.kv_lines(1)
        images = [machine.image.copy()]
        for head in range(heads):
            images.append(images[-1].copy())
            reference.append(images[-1], staged[[head, heads + head]].astype(np.int8),
                             codes[[head, heads + head]], head * stride, 5, 1, 1, 0, config)
        await machine.allow(1, 2 * heads)
        cocotb.start_soon(machine.send("append", 0, 5, heads=heads, head_blocks=1,
                                       head_stride=stride, take0=1, raise0=2, raise1=3))
        seen, limit = 0, stride * config.line_bytes
        while seen < heads:
            await RisingEdge(dut.clk)
            now = machine.raised.get(("raise0", 2), 0)
            if now > seen:
                seen = now
                assert np.array_equal(machine.image[:seen * limit], images[seen][:seen * limit])
        await machine.rest()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def append_reads_each_block_when_it_is_staged(dut, restless):
    """Of the most tokens at once, which lie in two KV blocks; what is not staged yet is not read,
    and what was read may be staged anew."""
    async with Bench(dut, patience=20000) as bench:
        machine = surround(bench, restless)
        heads = 2
        more = min(16, config.kv_staging // (2 * heads)) - 1
        staged, codes, line, position, fields = machine.random_append(
                heads, 1, 27, 2 * config.kv_lines(1), more)
        # A second command, with other blocks at the same places.
        twice = bench.rng.integers(-128, 128, staged.shape).astype(np.int8)
        expected = machine.image.copy()

        async def send():
            for n in range(2):
                await machine.send("append", line, position + n, take0=4, raise0=7, raise1=8,
                                   **fields)

        for n, blocks in enumerate((staged, twice)):
            reference.append(expected, blocks, codes, line, position + n, config=config, **fields)
        cocotb.start_soon(send())
        for n, block in enumerate(np.concatenate([staged, twice])):
            number = n % len(staged)
            while n - machine.raised.get(("raise1", 8), 0) >= len(staged):
                await RisingEdge(dut.clk)
            await machine.stage([block], [codes[number]], number)
            await machine.allow(4)
            if n == len(staged) // 2:
                await bench.cycles(400)
                assert machine.raised == {("raise1", 8): n + 1}, "keys are on their way"
        await machine.rest()
        assert np.array_equal(machine.image, expected)
        assert machine.raised == {("raise0", 7): 2 * heads, ("raise1", 8): 2 * len(staged)}


@cocotb.test(timeout_time=1, timeout_unit="ms", skip=config.outstanding < 8)
async def each_head_takes_its_words_and_four_cycles(dut):
    """Also of each token more."""
    async with Bench(dut) as bench:
        machine = Machine(bench, config, SIZE, False, delay=1)
        keys   = 2 * max(1, 16 // config.word_bytes) + 1
        values = config.beat_words * (2 if config.slices == 1 else 1)
        for head_blocks in (1, 2):
            cycles, ideal = [], head_blocks * (keys + values) + 1 + 4
            for heads, more in ((1, 0), (2, 0), (1, 2), (2, 1)):
                await machine.allow(4, 2 * heads * head_blocks * (1 + more))
                sent = cocotb.start_soon(machine.send(
                    "append", 0, 5, heads=heads, head_blocks=head_blocks, head_stride=64,
                    more=more, take0=4))
                cycles.append(0)
                while not sent.done():
                    await RisingEdge(dut.clk)
                    cycles[-1] += 1
                await machine.rest()
            assert list(np.diff(cycles)) == [ideal] * 3, f"{cycles}, ideally {ideal} a head"


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def append_uses_rings_tables_and_bounds(dut, restless):
    """Tokens far beyond the ring come to their places, by way of a table if there is one; bounds
    come to theirs in spite of both."""
    async with Bench(dut, patience=20000) as bench:
        machine, rng = surround(bench, restless), bench.rng
        heads_done, blocks_done = 0, 0
        for n in range(24):
            heads, head_blocks = int(rng.integers(1, 3)), int(rng.integers(1, 3))
            bounds, kv = config.pages and n % 3 == 2, str(rng.choice(config.kv))
            # Few places, so that two heads fit memory.
            stride = (config.bounds_lines if bounds else config.kv_lines)(head_blocks,
                                                                          KV[kv].packed)
            places = min(9, LINES // (2 * stride))
            kept = int(rng.integers(0, min(3, places)))
            sinks = int(rng.integers(32 * (kept - 1) + 1, 32 * kept + 1)) if kept else 0
            ring = int(rng.integers(1, places - kept + 1))
            table = rng.permutation(places).astype("<u4") if n % 2 else None
            if n % 8 == 7:      # without a ring
                ring = 0
            position = int(rng.integers(0, 2**32 - 16 if ring and n % 4 else 32 * places - 16))
            if bounds:
                position = int(rng.integers(0, 32 * places - 16))
            staged, codes, line, position, fields = machine.random_append(
                heads, head_blocks, position, places * stride, ring=ring,
                sinks=sinks, bounds=int(bounds), kv=kv)
            if table is None:
                dut.table.value, dut.entries.value = int(rng.integers(0, 2**32)), 0
            else:
                # In a line that the append leaves alone.
                at = int(rng.choice([k for k in range(LINES)
                                     if not line <= k < line + heads * places * stride] or [0]))
                if line <= at < line + heads * places * stride:
                    continue
                machine.image[at * config.line_bytes:][:table.nbytes] = table.view(np.uint8)
                dut.table.value, dut.entries.value = at, len(table)
            expected = machine.image.copy()
            await machine.stage(staged, codes)
            reference.append(expected, staged, codes, line, position, config=config, table=table,
                             **fields)
            await machine.allow(4, len(staged))
            await machine.send("append", line, position, take0=4, raise0=7, raise1=8, **fields)
            await machine.rest()
            assert np.array_equal(machine.image, expected), f"{position} {fields} {table}"
            heads_done, blocks_done = heads_done + heads, blocks_done + len(staged)
        assert machine.raised == {("raise0", 7): heads_done, ("raise1", 8): blocks_done}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def the_ring_costs_nothing_while_blocks_are_staged(dut):
    """An append that waits for its last staging block ends as early with a ring as without."""
    async with Bench(dut) as bench:
        machine, cycles = surround(bench, False), {}
        for ring in (0, 3):
            staged, codes, line, position, fields = machine.random_append(
                1, 1, 70, 3 * config.kv_lines(1), 0, ring=ring)
            await machine.stage(staged, codes)
            await machine.allow(4, 1)
            sent = cocotb.start_soon(machine.send("append", line, position, take0=4, **fields))
            await bench.cycles(60)
            await machine.allow(4, 1)
            cycles[ring] = 0
            while not sent.done():
                await RisingEdge(dut.clk)
                cycles[ring] += 1
            await machine.rest()
        assert cycles[0] == cycles[3], f"{cycles[3]} cycles, {cycles[0]} without a ring"


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def append_beyond_the_table_writes_nothing(dut):
    """The mover says so and stays; after a reset it works again."""
    async with Bench(dut) as bench:
        machine = surround(bench, False)
        before = machine.image.copy()
        dut.table.value, dut.entries.value = 0, 3
        for position, ring, sinks, more in ((3 * 32, 0, 0, 0), (0xFFFFFFFF, 0, 0, 0),
                                            (8 * 32, 4, 40, 0), (3 * 32 - 1, 0, 0, 1)):
            staged, codes, line, position, fields = machine.random_append(
                1, 1, position, 3 * config.kv_lines(1), more, ring=ring,
                sinks=sinks)
            await machine.stage(staged, codes)
            await machine.allow(4, len(staged))
            await machine.stays("table_fault", "append", line, position, take0=4, **fields)
            assert np.array_equal(machine.image, before)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def choose_sends_the_pages_of_the_list(dut, restless):
    """Lists of any length, between other commands; what is not below the count is left out."""
    async with Bench(dut) as bench:
        machine = surround(bench, restless)
        board = bench.expect("choices", choice, pause=sometimes(5) if restless else None)
        expected = machine.workspace.copy()
        for n, entries in enumerate((0, 1, 2, 3, 31, 64, 100)):
            line, most = machine.random_line(8), [1 << 32, 1 << 23, 500][n % 3]
            pages = np.sort(bench.rng.choice(most, entries, replace=False)).astype("<u4")
            machine.image[line * config.line_bytes:][:pages.nbytes] = pages.view(np.uint8)
            count = int(pages[-1 - entries // 4]) if entries else 5
            wanted, legal = reference.choose(machine.image, line, entries, count, config)
            assert legal
            board.expect_all([*({"page": page, "end": 0} for page in wanted),
                              {"page": 0, "end": 1}])
            await machine.send("choose", line, count, entries=entries)
            reference.gather(machine.image, expected, line, n % 8, 2, config)
            await machine.send("gather", line, dst=n % 8, blocks=2)
        await machine.rest()
        assert np.array_equal(machine.workspace, expected)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def choose_refuses_a_list_that_is_not_ascending(dut):
    """Equal and falling numbers, also where they are left out; what lies before them is sent."""
    async with Bench(dut) as bench:
        machine = surround(bench, False)
        board = bench.expect("choices", choice)
        for pages, count in (([3, 3], 9), ([5, 4], 9), ([0, 1, 2, 7, 6, 8], 9),
                             ([1, 90, 80], 9), ([2, 0xFFFFFFFF, 0], 9), ([1, 2, 3, 40, 40], 2)):
            raw = np.array(pages, "<u4")
            machine.image[:raw.nbytes] = raw.view(np.uint8)
            wanted, legal = reference.choose(machine.image, 0, len(pages), count, config)
            assert not legal
            board.expect_all({"page": page, "end": 0} for page in wanted)
            await machine.stays("choice_fault", "choose", 0, count, entries=len(pages))


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def load_delivers_the_value(dut, restless):
    """Any 32-bit value, between other commands."""
    async with Bench(dut) as bench:
        machine = surround(bench, restless)
        board = bench.expect("loaded", pause=sometimes(5) if restless else None)
        expected = machine.workspace.copy()
        for n in range(20):
            line, index = machine.random_line(8), int(bench.rng.integers(0, 40))
            board.expect(reference.load(machine.image, line, index, config))
            await machine.send("load", line, index)
            if n % 4 == 0:
                reference.gather(machine.image, expected, line, n % 8, 2, config)
                await machine.send("gather", line, dst=n % 8, blocks=2)
        await machine.rest()
        assert np.array_equal(machine.workspace, expected)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def gather_runs_ahead_of_memory(dut):
    """A long gather takes little more than a cycle for each word or row, and the latency once."""
    async with Bench(dut) as bench:
        machine = surround(bench, False)
        blocks = min(24, config.blocks)
        await machine.send("gather", 0, dst=0, blocks=1)
        start = cocotb.utils.get_sim_time("step")
        await RisingEdge(dut.clk)
        period = cocotb.utils.get_sim_time("step") - start
        start = cocotb.utils.get_sim_time("step")
        await machine.send("gather", 0, dst=0, blocks=blocks)
        cycles = (cocotb.utils.get_sim_time("step") - start) / period
        ideal = max(blocks * 128 // config.word_bytes, blocks * config.block_rows)
        assert cycles <= 1.05 * ideal + 60, f"{cycles} cycles for {ideal}"
