"""Counts of cells on the ECP5, how the emitted Verilog is cut for them, and clock rates."""

import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.primitives import Multiplier
from hw.verilog import convert, shared
from sw.area import Hierarchy, area, measure, resources
from sw.errors import UserError
from sw.synthesis import run_yosys
from sw.timing import harness


class Ram(wiring.Component):
    """A memory with one port to write and one to read."""

    def __init__(self, rows, bits):
        self.rows, self.bits = rows, bits
        address = range(rows)
        super().__init__({"to": In(address), "value": In(bits), "en": In(1),
                          "at": In(address), "o": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.bits, depth=self.rows, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.addr.eq(self.to), write.data.eq(self.value), write.en.eq(self.en),
                     read.addr.eq(self.at), self.o.eq(read.data)]
        return m


class Chain(wiring.Component):
    """``length`` shared multipliers, one behind the other."""

    def __init__(self, length):
        self.length = length
        super().__init__({"i": In(16), "o": Out(16)})

    def elaborate(self, platform):
        m = Module()
        value = self.i
        for n in range(self.length):
            m.submodules[f"part_{n}"] = part = shared(Multiplier(16, 16, "ecp5", signed=False))
            m.d.comb += [part.a.eq(value), part.b.eq(value)]
            value = Signal(16, name=f"value_{n}")
            m.d.sync += value.eq(part.o)
        m.d.comb += self.o.eq(value)
        return m


class Largest(wiring.Component):
    """The largest value so far of each element."""

    def __init__(self, elements):
        values = data.ArrayLayout(16, elements)
        super().__init__({"i": In(values), "first": In(1), "o": Out(values)})

    def elaborate(self, platform):
        m = Module()
        for value, largest in zip(self.i, self.o, strict=True):
            m.d.sync += largest.eq(Mux(self.first | (value > largest), value, largest))
        return m


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut at blocks of any size."""
    monkeypatch.setattr("sw.area.LEAST_TEXT", 0)


def cells_of(component, folder):
    (row,) = area(convert(component, "block"), "block", folder)
    return row.cells


def test_a_multiplier_is_one_dsp_with_its_registers(tmp_path):
    component = Multiplier(18, 18, "ecp5")
    assert cells_of(component, tmp_path) == {"LUT": 0, "FF": 0, "DSP": 1, "RAM": 0}


@pytest.mark.parametrize("rows, bits, blocks", [(512, 36, 1), (1024, 36, 2), (1024, 18, 1)])
def test_big_memories_are_block_ram(rows, bits, blocks, tmp_path):
    cells = cells_of(Ram(rows, bits), tmp_path)
    assert (cells["DSP"], cells["RAM"]) == (0, blocks)
    # No more than what gives a row that is being written its old value.
    assert cells["LUT"] < 3 * bits and cells["FF"] < 3 * bits


def test_small_memories_are_lookup_tables(tmp_path):
    cells = cells_of(Ram(16, 8), tmp_path)
    # Two cells of 4 bits, and the registers of the outputs.
    assert cells == {"LUT": 12, "FF": 8, "DSP": 0, "RAM": 0}


@pytest.mark.parametrize("elements", [1, 2])
def test_registers_of_several_values_are_mapped(elements, tmp_path):
    assert cells_of(Largest(elements), tmp_path)["FF"] == 16 * elements


def test_blocks_are_measured_once_and_counted_for_each_instance(small_blocks, tmp_path):
    verilog = convert(Chain(3), "block")
    # A multiplier of its own registers has no Verilog but that of one cell.
    verilog = verilog.replace("module multiplier(", "module multiplier /* always @ */ (")
    done = []
    machine, part = area(verilog, "block", tmp_path, progress=done.append)
    assert done == ["block", "multiplier"]
    assert (machine.depth, machine.instances, machine.cells["DSP"]) == (0, 1, 3)
    assert (part.depth, part.instances, part.name) == (1, 3, "multiplier")
    assert machine.cells["FF"] == 3 * 16 and part.cells["FF"] == 0


def test_results_are_kept(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("synthesised again")

    def cells():
        return measure(Hierarchy(convert(Ram(16, 8), "block"), "block"), "block", tmp_path)

    first = cells()
    monkeypatch.setattr("sw.area.run_yosys", refuse)
    assert cells() == first
    assert resources(first)["FF"] == 8


def test_black_boxes_have_only_ports(small_blocks):
    verilog = convert(Chain(2), "block").replace("module multiplier(",
                                                 "module multiplier /* always @ */ (")
    hierarchy = Hierarchy(verilog, "block")
    assert "MULT18X18D" not in hierarchy.source("block")
    assert "(* blackbox *)" in hierarchy.source("block")
    assert "MULT18X18D" in hierarchy.source("block", whole=True)


def test_errors_are_sentences(tmp_path):
    hierarchy = Hierarchy(convert(Ram(16, 8), "block"), "block")
    with pytest.raises(UserError, match="there is no block 'cell'; there are block"):
        hierarchy.find("cell")
    with pytest.raises(ValueError, match="the Verilog has no module 'top'"):
        Hierarchy("module block();\nendmodule\n", "top")
    with pytest.raises(UserError, match="wrong failed; its log is .*wrong.log and says: .*ERROR: "
                                        "No such command: nothing"):
        run_yosys("nothing\n", tmp_path / "wrong.log")


def test_the_harness_reaches_every_port(tmp_path):
    verilog = convert(Ram(16, 8), "block")
    around, added = harness("block", Hierarchy(verilog, "block").texts["block"])
    (row,) = area(verilog + around, "harness", tmp_path)
    alone = cells_of(Ram(16, 8), tmp_path)
    # 17 inputs and 8 outputs; the reset that a memory lacks is not kept.
    assert added == {"FF": 17 + 2 * 8 + 1, "LUT": 7}
    assert row.cells["FF"] == alone["FF"] + added["FF"] - 1
    assert row.cells["LUT"] == alone["LUT"] + added["LUT"]
