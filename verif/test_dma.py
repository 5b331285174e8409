"""Bench of everything that sees addresses, from commands down to AXI: streams, walks, flushes."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw import isa
from hw.config import Config
from hw.signatures import Part, kv_part
from verif.bench import Bench, current
from verif.dma_machine import Machine
from verif.memory_system import DmaSystem
from verif.reference import memory as reference
from verif.streams import StreamMonitor, bursts, never, sometimes


CONFIGS = {
    "nano":          dict(name="test", data_bits=32, slices=1, lanes=2, workspace=4096,
                          w_fifo=1024, d_fifo=512, outstanding=8, kv_staging=8, max_head=32,
                          pages=64),
    "two_channels":  dict(name="test", data_bits=32, channels=2, slices=2, lanes=8, burst=8,
                          workspace=4096, w_fifo=2048, d_fifo=1024, outstanding=16, kv_staging=8,
                          pages=64),
    "four_channels": dict(name="test", data_bits=64, channels=4, slices=4, lanes=16, burst=4,
                          workspace=8192, w_fifo=8192, d_fifo=4096, outstanding=32, kv_staging=8,
                          pages=64),
    "packed":        dict(name="test", data_bits=64, channels=2, slices=2, lanes=8, burst=8,
                          workspace=4096, w_fifo=2048, d_fifo=2048, outstanding=16, kv_staging=8,
                          pages=64, kv=("e4m3", "int4")),
    "cached":        dict(name="test", data_bits=64, slices=2, lanes=8, workspace=4096,
                          w_fifo=2048, d_fifo=1024, kv_staging=8, max_head=32, pages=64,
                          cache=65536, ranges=2),
    "server":        dict(name="test", data_bits=512, slices=8, lanes=16, workspace=16384,
                          w_fifo=32768, d_fifo=16384, kv_staging=8, pages=64),
}

SIMULATORS = {"nano": ("icarus",), "four_channels": ("verilator",), "packed": ("verilator",),
              "cached": ("verilator",), "server": ("verilator",)}

#: Tokens of the window, and cycles of latency, with which memory must be kept busy.
BUSY = {4: (1024, 60), 8: (1024, 60), 16: (1024, 60), 32: (2048, 60), 64: (4096, 100)}


def component(config):
    return DmaSystem(Config(**config))


config = Config(**current(CONFIGS))
SIZE = max(1 << 17, 1 << 14 + config.word_bytes.bit_length())
LINES = SIZE // config.line_bytes


def surround(bench, restless=False, latency=60):
    return Machine(bench, config, SIZE, restless, latency)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("restless", "pause"), [
    (False, never), (True, lambda: sometimes(3)), (True, lambda: bursts(4, 150))]))
async def streams_deliver_what_was_asked(dut, restless, pause):
    """Both streams, with gathers between, in order and without a word too many."""
    async with Bench(dut, patience=5000) as bench:
        machine = surround(bench, restless)
        w, d = bench.expect("w", pause=pause()), StreamMonitor(dut, "d", pause=pause())
        changing = cocotb.start_soon(machine.change_ranges())
        gathers = cocotb.start_soon(machine.mover.send_all(
            {"word": isa.encode("gather", dst=2 * n, blocks=2), "address": 8 * n, "count": 0}
            for n in range(4)))
        for n in range(32):
            beats = int(bench.rng.choice([1, 2, 3, 7, 40]))
            if n % 4 == 0:
                command, expected = machine.stream("w", beats)
                w.expect_all(expected)
                await machine.fetch.send(command)
            else:
                await machine.send(machine.d_stream(beats) if n % 4 == 1 else
                                   machine.walk(longest=150))
        await gathers
        await machine.rest()
        changing.cancel()
    assert dut.quiet.value and not dut.fetch_busy.value and not dut.busy.value
    assert d.received == machine.d_beats()
    for n in range(4):
        start = 8 * n * config.line_bytes
        rows = machine.rows[2 * n * config.block_rows:][:2 * config.block_rows]
        assert rows.tobytes() == machine.image[start:start + 256].tobytes()
        machine.wanted.update(reference.bursts(start, 256 // config.word_bytes, config))
    events = machine.events
    if not config.cache:
        assert machine.issued() == machine.wanted
        assert events["w"] == w.matched * config.beat_words
    else:
        cocotb.log.info("%s", dict(events))
        assert events["hit"] and not dut.range_fault.value
    assert events["w"] + events["d"] == (
        w.matched + len(d.received) - events["hit"]) * config.beat_words
    assert machine.events["gather"] == 4 * 256 // config.word_bytes


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def a_table_says_where_blocks_lie(dut, restless):
    """Walks with and without it, beside a busy W stream; the program changes it between walks."""
    async with Bench(dut, patience=5000) as bench:
        machine = surround(bench, restless)
        w, d = bench.expect("w"), StreamMonitor(dut, "d", pause=sometimes(3))
        for _ in range(3):
            for n in range(6):
                command, expected = machine.stream("w", 200)
                w.expect_all(expected)
                await machine.fetch.send(command)
                if n == 0:
                    table = machine.table(3)
                paged = bool(bench.rng.integers(2))
                await machine.send(machine.walk(longest=150, table=table if paged else None)
                                   | {"paged": paged})
            await machine.rest()
            assert d.received == machine.d_beats()
            d.received.clear()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize((("words", "pieces"), [(4000, 1), (1600, 20)]))
async def memory_is_read_at_full_rate(dut, words, pieces):
    """Words take hardly more cycles than there are words, in one descriptor or in many."""
    async with Bench(dut, patience=5000) as bench:
        machine = surround(bench, latency=60)
        w = bench.expect("w")
        beats, line = words // config.beat_words // pieces, 0
        commands = []
        for _ in range(pieces):
            command, expected = machine.stream("w", beats, line)
            commands.append(command)
            w.expect_all(expected)
            line += -(-beats * config.beat_bytes // config.line_bytes)
        machine.fetch.start(commands)
        cycles = 0
        while w.expected:
            await RisingEdge(dut.clk)
            cycles += 1
        assert cycles <= 1.01 * words + 60 + 20, f"{cycles} cycles for {words} words"


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(paged=[False, True])
async def walks_keep_memory_busy(dut, paged):
    """Windows and sinks of several heads, in a ring: 97 of 100 cycles bring a word.

    What is announced is taken as late as it may be: behind the last beat of what was before it.
    """
    async with Bench(dut) as bench:
        window, latency = BUSY[config.word_bytes]
        machine = surround(bench, latency=latency)
        beats = []
        d = StreamMonitor(dut, "d", lambda beat: beats.append(beat))
        ends = [0]

        def announced(part):
            machine.announced.append(part)
            keys, values = config.part_beats(part["head_blocks"], bool(part["packed"]))
            ends[0] += values if part["kind"] == Part.VALUES else keys

        def late():
            while True:
                yield len(beats) < ends[0]

        machine.parts.task.cancel()
        StreamMonitor(dut, "parts", announced, kv_part, pause=late())
        ring = window // 32 + 2
        table = machine.table() if paged else None
        count = int(bench.rng.integers(20000, 200000))
        commands = [machine.walk(count=count, pattern="window", chain=1, span=1, window=window,
                                 sinks=4, ring=ring, table=table) | {"paged": paged}
                    for _ in range(4)]
        words = sum(part[2] for command in commands for block in command["blocks"]
                    for part in block) * config.beat_words
        sending = cocotb.start_soon(every(machine.send, commands))
        cycles = 0
        while len(beats) * config.beat_words < words:
            await RisingEdge(dut.clk)
            cycles += 1
        await sending
        await machine.rest()
        assert d is not None and beats == machine.d_beats()
        cocotb.log.info("%d words in %d cycles: %.4f", words, cycles, words / cycles)
        assert words >= 0.97 * cycles, f"{cycles} cycles for {words} words"


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(pattern=["window", "bounds"])
async def announcements_do_not_stop_reading(dut, pattern):
    """While nobody takes them, nor a beat, all of D's room is filled."""
    async with Bench(dut) as bench:
        machine = surround(bench, latency=20)
        machine.parts.task.cancel()
        dut.d__ready.value = dut.parts__ready.value = 0
        room = config.d_fifo // config.word_bytes
        await machine.send(machine.walk(count=LINES // 4, head_blocks=1, pattern=pattern, window=0,
                                        ring=2, sinks=0))
        await bench.cycles(3 * room + 200)
        assert machine.events["d"] > room - config.burst


async def every(function, arguments):
    for argument in arguments:
        await function(argument)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def one_stream_does_not_wait_for_the_other(dut):
    """W goes on while D's walk waits for a counter, and while nobody takes D's beats."""
    async with Bench(dut) as bench:
        machine = surround(bench, latency=20)
        w = bench.expect("w")
        dut.d__ready.value = 0
        await machine.send(machine.walk(count=70, pattern="window", take0=9))
        long, _ = machine.stream("d", config.d_fifo // config.beat_bytes * 2)
        await machine.fetch.send(long)
        for _ in range(20):
            command, expected = machine.stream("w", 9)
            w.expect_all(expected)
            await machine.fetch.send(command)
        while w.expected:
            await RisingEdge(dut.clk)
        await machine.add(9)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_walk_waits_before_the_block_that_is_written(dut):
    """All blocks before are read at once, the last only when it is allowed."""
    async with Bench(dut) as bench:
        machine = surround(bench, latency=10)
        received = StreamMonitor(dut, "d").received
        for count in (1, 32, 33, 96):
            received.clear()
            command = machine.walk(count=count, take0=3, pattern="window", span=1, window=0,
                                   forward=0)
            early = [part for block in command["blocks"][:-1] for part in block]
            await machine.send(command)
            await bench.cycles(200 + 2 * count * config.kv_beats(2) * config.beat_words // 32)
            assert len(received) == sum(beats for _, _, beats in early)
            assert dut.fetch_busy.value
            await machine.add(3)
            await machine.rest()
            assert received == machine.d_beats()


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(entries=[0, 1, 2, 5])
async def a_choose_ends_when_a_walk_has_its_list(dut, entries):
    """However short it is."""
    async with Bench(dut) as bench:
        machine = surround(bench, latency=10)
        d = StreamMonitor(dut, "d")
        line = LINES - 8
        pages = np.arange(entries, dtype="<u4")
        machine.image[line * config.line_bytes:][:pages.nbytes] = pages.view(np.uint8)
        word = isa.encode("choose", entries=entries)
        choosing = machine.mover.start([{"word": word, "address": line, "count": 100}])
        await bench.cycles(300)
        assert not choosing.done()
        command = machine.walk(pattern="chosen", pages=pages.tolist(), count=140)
        machine.asked.append(command)
        await machine.fetch.send(command["command"])
        await choosing
        await machine.rest()
        assert d.received == machine.d_beats()


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_walk_of_no_tokens_reads_and_takes_nothing(dut):
    """Neither a word nor a permission is lost, and nothing is announced."""
    async with Bench(dut) as bench:
        machine = surround(bench, latency=10)
        d = StreamMonitor(dut, "d")
        await machine.add(3)
        for count in (0, 5, 0):
            await machine.send(machine.walk(count=count, take0=3))
        await machine.rest()
        assert d.received == machine.d_beats()
    assert machine.issued() == machine.wanted and not dut.overflow.value


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True])
async def a_flush_forgets_one_stream(dut, restless):
    """Whenever it comes: nothing asked before it is delivered after, and the other goes on."""
    async with Bench(dut, patience=5000) as bench:
        machine = surround(bench, restless)
        changing = cocotb.start_soon(machine.change_ranges())
        streams = {"w": StreamMonitor(dut, "w", pause=sometimes(1)),
                   "d": StreamMonitor(dut, "d", pause=sometimes(2))}
        for n in range(10):
            name, other = ("w", "d") if n % 2 else ("d", "w")
            kept = []
            for _ in range(int(bench.rng.integers(1, 4))):
                if name == "d" and bench.rng.integers(2):
                    command = machine.walk(pattern="window", longest=150)["command"]
                else:
                    command, _ = machine.stream(name, int(bench.rng.integers(1, 100)))
                await machine.fetch.send(command)
                command, expected = machine.stream(other, int(bench.rng.integers(1, 9)))
                kept += expected
                await machine.fetch.send(command)
            await bench.cycles(int(bench.rng.integers(0, 150)))
            # A flush may withdraw a beat: pause the stream, so that no rule of streams is broken.
            streams[name].task.cancel()
            getattr(dut, f"{name}__ready").value = 0
            await machine.flush(name)
            fresh = streams[name] = StreamMonitor(dut, name, pause=sometimes(n))
            command, expected = machine.stream(name, int(bench.rng.integers(1, 60)))
            await machine.fetch.send(command)
            for monitor, wanted in ((fresh, expected), (streams[other], kept)):
                for _ in range(20000):
                    if len(monitor.received) >= len(wanted):
                        break
                    await RisingEdge(dut.clk)
            await bench.cycles(100)
            assert fresh.received == expected
            assert streams[other].received == kept
            for monitor in streams.values():
                monitor.received.clear()
        changing.cancel()
        await machine.rest()
    assert dut.quiet.value and not dut.fault.value
