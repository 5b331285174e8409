"""cocotb tests of :class:`hw.sequencer.Sequencer`."""

from dataclasses import replace

import cocotb
from cocotb.triggers import RisingEdge

from hw import isa
from hw.config import load
from hw.legality import WINDOWED, absent, ranges
from hw.sequencer import Sequencer
from hw.signatures import Command, range_command
from verif.bench import Bench, current
from verif.reference.sequencer import sequencer
from verif.streams import StreamMonitor, never, sometimes


CONFIGS = {"pages": dict(pages=64, kv_groups=3, columns=5, max_head=256),
           "no_pages": dict(pages=0, kv_groups=1, columns=64, max_head=64, cache=0),
           "ecc": dict(pages=0, kv_groups=1, columns=5, max_head=64, ecc=1)}
SIMULATORS = {"ecc": ("verilator",)}
UNITS = ("matmul", "vector", "mover", "fetch")


def machine(keys):
    return replace(load("nano"), program=128, formats=("int8", "int4", "int16"),
                   activations=("int8", "e4m3"), kv=("int8", "e5m2"), **keys)


def component(config):
    return Sequencer(machine(config))


CONFIG = machine(current(CONFIGS))


def random_instruction(rng, name, target):
    """A legal instruction with random fields; branches only go forward, to ``target``."""
    values = {}
    for field in isa.BY_NAME[name].fields:
        least, most = ranges(CONFIG).get((name, field.name),
                                         (0, (len(field.choices) or 2**field.bits) - 1))
        values[field.name] = int(rng.integers(least, most, dtype="uint64", endpoint=True))
    for field, names in CONFIG.names.items():
        if field in values:
            values[field] = str(rng.choice(names))
    if (values.get("format"), values.get("activation")) in CONFIG.refused:
        values["activation"] = "int8"
    if name in WINDOWED and values["window"] < values["sinks"]:
        values["window"] = int(rng.choice([0, values["sinks"]]))
    if name == "branch":
        values["target"] = target
    if name == "wait":
        values["source"] = "token" if rng.integers(2) else "load"
    return isa.encode(name, **values)


def random_program(rng, length):
    names = [i.name for i in isa.INSTRUCTIONS if i.name not in ("stop", *absent(CONFIG))]
    # Registers get values first.
    words = [isa.encode("set", rd=n, imm=int(rng.integers(0, 2**32))) for n in range(16)]
    for n in range(len(words), length):
        name = names[rng.integers(len(names))]
        words.append(random_instruction(rng, name, int(rng.integers(n + 1, length + 1))))
    return [*words, isa.encode("stop")]


class Host:
    """Loads programs and collects what they send."""

    def __init__(self, bench, pause):
        self.dut, self.sent, self.bench = bench.dut, [], bench
        self.results = {"token": [], "load": []}
        for unit in UNITS:
            StreamMonitor(bench.dut, unit, lambda c, unit=unit: self._command(unit, c), Command,
                          pause=pause())
        StreamMonitor(bench.dut, "emitted", lambda value: self.sent.append(("emit", int(value))),
                      pause=pause())
        StreamMonitor(bench.dut, "ranges", self._range, range_command(CONFIG), pause=pause())
        cocotb.start_soon(self._pulses())
        cocotb.start_soon(self._tables())

    def _command(self, unit, command):
        word = command["word"]
        fields = isa.decode(word)[1]
        self.sent.append((unit, word, command["address"] if "base" in fields else None,
                          command["count"] if "count" in fields else None))

    def _range(self, command):
        if command["live"]:
            self.sent.append(("pin", *(command[name] for name in (
                "slot", "preload", "first", "lines", "place"))))
        else:
            self.sent.append(("drop", command["slot"]))

    async def _pulses(self):
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if dut.add_en.value:
                self.sent.append(("raise", int(dut.add_id.value), int(dut.add_count.value)))
            if dut.flush_w.value or dut.flush_d.value:
                self.sent.append(("flush", int(dut.flush_w.value), int(dut.flush_d.value)))

    async def _tables(self):
        dut, before = self.dut, (0, 0)
        while True:
            await RisingEdge(dut.clk)
            now = int(dut.table.value), int(dut.entries.value)
            if now != before and not dut.rst.value:
                self.sent.append(("paging", *now))
            before = now

    async def load(self, words):
        dut = self.dut
        dut.rst.value = 1
        for n, word in enumerate(words + [0] * (128 - len(words))):
            for quarter in range(4):
                dut.program__en.value = 1
                dut.program__address.value = n
                dut.program__quarter.value = quarter
                dut.program__data.value = word >> 32 * quarter & 0xFFFFFFFF
                await RisingEdge(dut.clk)
        dut.program__en.value = 0
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        self.sent.clear()

    async def run(self, results):
        """Feed results until the program ends; what it sent."""
        dut = self.dut
        queues = {"token": list(results["token"]), "loaded": list(results["load"])}
        while True:
            for name, queue in queues.items():
                getattr(dut, f"{name}__valid").value = bool(queue)
                getattr(dut, f"{name}__payload").value = queue[0] if queue else 0
            dut.resting.value = int(self.bench.rng.integers(0, 2))
            await RisingEdge(dut.clk)
            for name, queue in queues.items():
                if queue and getattr(dut, f"{name}__ready").value:
                    queue.pop(0)
            if dut.done.value:
                return [*self.sent, ("stop",)]
            if dut.illegal.value:
                return [*self.sent, ("illegal", int(dut.pc.value))]


def without_nothing(sent):
    """Raises of nothing and flushes of no stream leave no trace on the wires."""
    return [s for s in sent if s[0] != "flush" or s[1] or s[2]]


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1)])
async def random_programs_send_what_the_reference_sends(dut, pause):
    async with Bench(dut) as bench:
        host = Host(bench, pause)
        for _ in range(6):
            words = random_program(bench.rng, 100)
            results = {name: [int(v) for v in bench.rng.integers(0, 2**32, 100)]
                       for name in ("token", "load")}
            await host.load(words)
            assert await host.run(results) == without_nothing(sequencer(words, results, CONFIG))


@cocotb.test()
async def illegal_instructions_stop_the_program(dut):
    """Unknown opcodes, set bits that are reserved, choices and targets out of range, formats that
    the machine lacks or does not multiply, sinks beyond the window."""
    async with Bench(dut) as bench:
        host = Host(bench, never)
        emit = isa.encode("emit", ra=0)
        for bad in (63, 1 << 127 | isa.encode("stop"), isa.encode("set", rd=1) | 1 << 42,
                    isa.encode("branch", target=128), isa.encode("wait") | 3 << 10,
                    isa.encode("matmul", format="mxfp4"), isa.encode("attend", kv="e4m3"),
                    isa.encode("matmul", format="int16", activation="e4m3"),
                    isa.encode("quantise") | 3 << isa.BY_NAME["quantise"].offsets["element"],
                    isa.encode("walk", head_blocks=1, span=1, window=7, sinks=8),
                    isa.encode("walk", head_blocks=1, span=1) | 3 << isa.BY_NAME["walk"]
                    .offsets["pattern"],
                    isa.encode("attend", head_blocks=1, columns=1, groups=1, window=4000,
                               sinks=4001)):
            await host.load([emit, bad, emit])
            assert await host.run({"token": [], "load": []}) == [("emit", 0), ("illegal", 1)]


@cocotb.test()
async def fields_are_legal_up_to_their_limits(dut):
    """Each field of which not all values are legal, at both ends and beside them."""
    async with Bench(dut) as bench:
        host = Host(bench, never)
        legal = {"walk": dict(head_blocks=1, span=1), "append": dict(head_blocks=1, heads=1),
                 "attend": dict(head_blocks=1, columns=1, groups=1),
                 "select": dict(head_blocks=1, columns=1, groups=1), "branch": {},
                 "pin": dict(lines=1), "drop": {}}
        for (name, field), (least, most) in ranges(CONFIG).items():
            (bits,) = [f.bits for f in isa.BY_NAME[name].fields if f.name == field]
            for value in {least - 1, least, most, most + 1}:
                if not 0 <= value < 2**bits:
                    continue
                words = [isa.encode(name, **{**legal[name], field: value}), isa.encode("stop")]
                end = ("illegal", 0) if not least <= value <= most else ("stop",)
                await host.load(words)
                if name != "branch" or end == ("illegal", 0):
                    sent = await host.run({"token": [], "load": []})
                    assert sent[-1] == end, f"{name} {field} {value}"


@cocotb.test()
async def sinks_lie_inside_the_window(dut):
    """They may fill it; without a window there may be any number."""
    async with Bench(dut) as bench:
        host = Host(bench, never)
        for name, fields in (("walk", dict(span=1)), ("attend", dict(columns=1, groups=1))):
            for window, sinks, end in ((5, 5, "stop"), (4096, 4095, "stop"), (0, 9, "stop"),
                                       (5, 6, "illegal"), (1, 4095, "illegal")):
                await host.load([isa.encode(name, head_blocks=1, window=window, sinks=sinks,
                                            **fields), isa.encode("stop")])
                sent = await host.run({"token": [], "load": []})
                assert sent[-1][0] == end, f"{name} {window} {sinks}"


@cocotb.test()
async def no_table_survives_a_reset(dut):
    async with Bench(dut) as bench:
        host = Host(bench, never)
        await host.load([isa.encode("set", rd=3, imm=2**32 - 5),
                         isa.encode("paging", base=12, offset=3, entries=9), isa.encode("stop")])
        assert await host.run({"token": [], "load": []}) == [("paging", 7, 9), ("stop",)]
        await host.load([isa.encode("stop")])
        assert await host.run({"token": [], "load": []}) == [("stop",)]
        assert not dut.table.value and not dut.entries.value


@cocotb.test()
async def registers_are_cleared_between_runs(dut):
    async with Bench(dut) as bench:
        host = Host(bench, never)
        await host.load([isa.encode("set", rd=5, imm=7), isa.encode("stop")])
        await host.run({"token": [], "load": []})
        await host.load([isa.encode("emit", ra=5), isa.encode("stop")])
        assert await host.run({"token": [], "load": []}) == [("emit", 0), ("stop",)]
