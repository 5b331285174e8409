"""Bench of the walker: descriptors and announcements of random walks, and the table's words."""

from collections import Counter

import cocotb
from cocotb.triggers import RisingEdge

from hw.config import Config
from hw.memory.reader import descriptor
from hw.memory.walker import Walker
from hw.signatures import Command, choice, kv_part, read_data, read_request
from verif import walks
from verif.bench import Bench, current
from verif.memory_system import WalkerSystem
from verif.streams import StreamDriver, StreamMonitor, never, sometimes


CONFIGS = {
    "nano":   dict(name="test", data_bits=32, slices=1, lanes=2, workspace=4096, max_head=32,
                   w_fifo=1024, d_fifo=512, outstanding=8, kv_staging=8, pages=64),
    "heads":  dict(name="test", data_bits=128, channels=2, slices=4, lanes=8, max_head=128,
                   queue=16, pages=64),
    "server": dict(name="test", data_bits=512, slices=8, lanes=16, max_head=64, workspace=65536,
                   d_fifo=16384, pages=64),
}

SIMULATORS = {"nano": ("verilator", "icarus"), "heads": ("verilator",), "server": ("verilator",)}


def component(config):
    return WalkerSystem(Config(**config))


config = Config(**current(CONFIGS))

TABLE, ENTRIES = 5, 700


def every(cycles):
    """Let one transfer through in so many cycles."""
    while True:
        yield from [True] * (cycles - 1)
        yield False


class Machine:
    """Memory that holds the block table, and the walker's streams."""

    def __init__(self, bench, *, pause=never, latency=lambda: 20):
        self.bench, self.dut = bench, bench.dut
        self.words = bench.rng.integers(0, 1 << 20, 2 * ENTRIES).astype("<u4")
        self.asked, self.table_reads = [], 0
        self.latency = latency
        self.commands = bench.drive("commands", Command)
        self.choices = bench.drive("choices", choice)
        self.pages = bench.drive("pages", choice)
        self.answers = StreamDriver(bench.dut, "data", read_data(config))
        StreamMonitor(bench.dut, "requests", self.request, read_request(config), pause=pause())
        self.d = StreamMonitor(bench.dut, "d", shape=descriptor(config), pause=pause())
        self.parts = StreamMonitor(bench.dut, "parts", shape=kv_part, pause=pause())
        cocotb.start_soon(self.answer())

    @property
    def table(self):
        return self.words[:ENTRIES]

    def request(self, request):
        assert request["words"] == 1 and request["address"] % config.word_bytes == 0
        offset = request["address"] - TABLE * config.line_bytes
        assert 0 <= offset < 4 * ENTRIES, "read beyond the table"
        self.table_reads += 1
        raw = self.words.tobytes()[offset:offset + config.word_bytes]
        self.asked.append([self.latency(), int.from_bytes(raw, "little")])

    async def answer(self):
        while True:
            await RisingEdge(self.dut.clk)
            for word in self.asked:
                word[0] -= 1
            if self.asked and self.asked[0][0] <= 0:
                await self.answers.send({"data": self.asked.pop(0)[1]})

    async def send(self, command, paged=False):
        self.dut.table.value, self.dut.entries.value = TABLE, ENTRIES * paged
        await self.commands.send(command["command"])

    async def add(self, counter, count=1):
        self.dut.add_id.value, self.dut.add_count.value, self.dut.add_en.value = counter, count, 1
        await RisingEdge(self.dut.clk)
        self.dut.add_en.value = 0

    async def rest(self, patience=4000):
        """Wait until all is resolved and announced."""
        quiet = 0
        for _ in range(patience):
            await RisingEdge(self.dut.clk)
            quiet = 0 if self.dut.busy.value or self.dut.parts__valid.value else quiet + 1
            if quiet > 5:
                return
        raise AssertionError("the walker does not come to rest")

    def read(self, commands):
        """Check all parts against ``commands``."""
        found = walks.Follower(commands, config.keys_ahead).all(self.parts.received)
        wanted = [{"address": address % 2**config.address_bits, "beats": beats}
                  for _, address, beats in found]
        assert self.d.received == wanted
        self.d.received.clear()
        self.parts.received.clear()
        return found


def random_commands(machine, number, paged, take0=0):
    rng = machine.bench.rng
    commands = []
    for _ in range(number):
        table = machine.table if (tabled := bool(paged and rng.integers(2))) else None
        if rng.integers(8) == 0:
            command = walks.stream(rng, config, int(rng.integers(0, 50)))
        else:
            command = walks.walk(rng, config, table=table, take0=take0)
        commands.append(command | {"paged": tabled})
    return commands


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(restless=[False, True], paged=[False, True])
async def walks_read_what_their_queries_need(dut, restless, paged):
    """All patterns, chained or not, and streams between; lists come when they come."""
    async with Bench(dut) as bench:
        rng = bench.rng
        machine = Machine(bench, pause=(lambda: sometimes(int(rng.integers(1 << 30)))) if restless
                          else never, latency=lambda: int(rng.integers(1, 40 if restless else 4)))
        commands = random_commands(machine, 60, paged)
        lists = [page for command in commands for page in walks.choices_of(command)]
        sending = machine.choices.start(lists)
        for command in commands:
            await machine.send(command, command["paged"])
            if restless and rng.integers(3) == 0:
                await bench.cycles(int(rng.integers(200)))
        await machine.rest()
        await sending
        machine.read(commands)
        assert not dut.table_fault.value and not dut.overflow.value


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(paged=[False, True])
async def keys_run_ahead_as_far_as_they_may(dut, paged):
    """If D takes its time, the order is that of the reference, division and table included."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        machine.d.pause = every(100)
        for _ in range(4):
            # The first is read while the others are dispatched.
            commands = [walks.stream(bench.rng, config, 1) | {"paged": False},
                        *random_commands(machine, 5, paged)]
            lists = [page for command in commands for page in walks.choices_of(command)]
            sending = machine.pages.start(lists)
            for command in commands:
                await machine.send(command, command["paged"])
            await machine.rest(40000)
            await sending
            assert machine.read(commands) == walks.in_order(commands, config.keys_ahead)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def short_walks_overtake_one_walk_only(dut):
    """Chains of walks of a few blocks or of none, as fast as they can be dispatched."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        for pause in (never(), every(30)):
            machine.d.pause = pause
            commands = [walks.walk(bench.rng, config, pattern="window", ring=0, chain=1,
                                   count=int(bench.rng.choice([0, 1, 32, 33, 70])))
                        for _ in range(60)]
            for command in commands:
                await machine.send(command)
            await machine.rest()
            machine.read(commands)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_ring_belongs_to_its_walk(dut):
    """Though a walk's first block may follow the last one of the walk before."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        commands = [walks.walk(bench.rng, config, pattern="window", count=32 * n, window=1, sinks=0,
                               span=1, ring=int(bench.rng.integers(1, 9))) for n in range(1, 40)]
        for command in commands:
            await machine.send(command)
        await machine.rest()
        machine.read(commands)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def lists_of_both_sources_are_not_mixed(dut):
    """A list that has begun goes on to its end, though its source pauses and the other does not."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        for n in range(10):
            commands = [walks.walk(bench.rng, config, pattern="chosen", count=399, window=64)
                        for _ in range(2)]
            sources = (machine.choices, machine.pages)[::-1 if n % 2 else 1]
            for command in commands:
                await machine.send(command)
            sending = []
            for command, source, pause in zip(commands, sources, (every(20), never())):
                source.pause = pause
                sending.append(source.start(walks.choices_of(command)))
                await bench.cycles(25)
            for task in sending:
                await task
            await machine.rest()
            machine.read(commands)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_descriptor_comes_each_cycle(dut):
    """Of a long walk; and the first after the latency."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        command = walks.walk(bench.rng, config, count=3200, pattern="window", window=0, ring=0)
        await machine.send(command)
        cycles = 0
        while not machine.d.received:
            await RisingEdge(dut.clk)
            cycles += 1
        assert cycles - 1 == Walker.latency, f"{cycles - 1} cycles"
        await bench.cycles(2 * len(command["blocks"]) - 1)
        assert len(machine.d.received) == 2 * len(command["blocks"]) == 200
        await machine.rest()
        machine.read([command])


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def a_walk_waits_for_its_chunk_only(dut):
    """All parts of blocks before are read at once; the counter is taken once."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        for _ in range(30):
            command = walks.walk(bench.rng, config, pattern="window", take0=3)
            await machine.send(command)
            await bench.cycles(120 + 2 * len(command["blocks"]))
            late = len(command["blocks"]) if command["late"] is None else command["late"]
            early = [part for block in command["blocks"][:late] for part in block]
            assert (Counter(str(walks.numbers(part)) for part in machine.parts.received)
                    == Counter(str(part[0]) for part in early))
            assert bool(dut.busy.value) == (command["late"] is not None)
            if command["late"] is not None:
                await machine.add(3)
            await machine.rest()
            machine.read([command])
        assert not dut.overflow.value
        # Nothing is left of the counter.
        await machine.send(walks.walk(bench.rng, config, count=1, pattern="window", take0=3))
        await bench.cycles(100)
        assert not machine.d.received


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(inside=[False, True])
async def a_slot_beyond_the_table_is_a_fault(dut, inside):
    """Blocks up to the table's last entry are read; the one after it stops D."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        count = 32 * (ENTRIES + (not inside))
        fields = dict(pattern="window", window=64, sinks=0, ring=0, span=1)
        if inside:
            command = walks.walk(bench.rng, config, count=count, table=machine.table, **fields)
        else:
            command = walks.walk(bench.rng, config, count=count, **fields)
        await machine.send(command, paged=True)
        if inside:
            await machine.rest()
            machine.read([command])
            assert not dut.table_fault.value
            return
        while not dut.table_fault.value:
            await RisingEdge(dut.clk)
        machine.d.received.clear()
        await bench.cycles(200)
        assert dut.table_fault.value and not machine.d.received


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def the_table_is_read_anew_by_each_walk(dut):
    """What the program wrote between walks is seen, though nothing but the walk tells."""
    async with Bench(dut) as bench:
        machine = Machine(bench, latency=lambda: 10)
        for _ in range(12):
            command = walks.walk(bench.rng, config, count=200, table=machine.table.copy(),
                                 sinks=0, pattern="window")
            await machine.send(command, paged=True)
            await machine.rest()
            machine.read([command])
            machine.words[:] = bench.rng.permutation(machine.words)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def words_of_the_table_are_read_once_in_a_walk(dut):
    """Ascending slots need each word once, and none that no entry is in."""
    async with Bench(dut) as bench:
        machine = Machine(bench)
        command = walks.walk(bench.rng, config, count=32 * ENTRIES, table=machine.table, window=0,
                             ring=0, pattern="window")
        await machine.send(command, paged=True)
        await machine.rest(40000)
        machine.read([command])
        assert machine.table_reads == -(-4 * ENTRIES // config.word_bytes)


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def a_flush_forgets_all_of_d(dut):
    """Whenever it comes: walks, parts, lists and words in flight are not seen again."""
    async with Bench(dut, patience=5000) as bench:
        rng = bench.rng
        machine = Machine(bench, latency=lambda: int(rng.integers(1, 60)))
        for n in range(30):
            for command in random_commands(machine, int(rng.integers(1, 5)), paged=True):
                if command["pages"] is None:
                    await machine.send(command, command["paged"])
            await bench.cycles(int(rng.integers(0, 80)))
            # A flush may withdraw what waits: no monitor looks at it then.
            for monitor in (machine.d, machine.parts):
                monitor.task.cancel()
            dut.d__ready.value = dut.parts__ready.value = 0
            await bench.cycles(1)
            dut.flush_d.value = 1
            await bench.cycles(1)
            dut.flush_d.value = 0
            machine.d = StreamMonitor(dut, "d", shape=descriptor(config), pause=sometimes(n))
            machine.parts = StreamMonitor(dut, "parts", shape=kv_part, pause=sometimes(n + 1))
            machine.words[:] = rng.permutation(machine.words)
            commands = random_commands(machine, 2, paged=True)
            sending = machine.choices.start([page for command in commands
                                             for page in walks.choices_of(command)])
            for command in commands:
                await machine.send(command, command["paged"])
            await machine.rest()
            await sending
            machine.read(commands)
