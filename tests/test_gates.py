"""Gate equivalents of small designs, counted by hand."""

import json

import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.verilog import convert
from sw.errors import UserError
from sw.gates import FLIP_FLOP, GATES, gate_equivalents


GE = {name: area for name, (area, _) in GATES.items()}


class Small(wiring.Component):
    """``build(m, a, b)`` gives the value of the output."""

    def __init__(self, build, bits=1):
        self.build = build
        super().__init__({"a": In(bits), "b": In(bits), "o": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.build(m, self.a, self.b))
        return m


def size(build, folder, bits=1):
    return gate_equivalents(convert(Small(build, bits), "block"), "block", folder)


def register(m, value, en=1, *, reset_less=False):
    held = Signal(1, name="held", reset_less=reset_less)
    with m.If(en):
        m.d.sync += held.eq(value)
    return held


@pytest.mark.parametrize("build, wanted", [
    (lambda m, a, b: ~(a & b), GE["NAND"]),
    (lambda m, a, b: a ^ b, GE["XOR"]),
    (lambda m, a, b: register(m, a, reset_less=True), FLIP_FLOP),
    (lambda m, a, b: register(m, a, b, reset_less=True), FLIP_FLOP + GE["MUX"]),
    (lambda m, a, b: a, 0),
], ids=["nand", "xor", "register", "enable", "wire"])
def test_gates_and_registers_are_counted(build, wanted, tmp_path):
    assert size(build, tmp_path) == pytest.approx(wanted)


def test_a_reset_is_gates(tmp_path):
    # NOR of the reset and of the inverted value.
    assert size(lambda m, a, b: register(m, a), tmp_path) == pytest.approx(
        FLIP_FLOP + GE["NOT"] + GE["NOR"])


def test_multipliers_grow_with_the_square_of_their_bits(tmp_path):
    def product(m, a, b):
        return a[:len(a) // 2] * b[:len(a) // 2]

    four, eight = (size(product, tmp_path, bits) for bits in (8, 16))
    assert 4 < eight / four < 6


def memory(m, a, b):
    m.submodules.memory = memory = Memory(shape=8, depth=256, init=[])
    read, write = memory.read_port(), memory.write_port()
    m.d.comb += [read.addr.eq(a), write.addr.eq(b), write.data.eq(a), write.en.eq(1)]
    return read.data


def test_memories_are_not_counted(tmp_path):
    assert size(memory, tmp_path, 8) == 0


def test_results_are_kept_under_the_hash_of_the_verilog(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("synthesised again")

    first = size(lambda m, a, b: Mux(a, b, ~b), tmp_path)
    monkeypatch.setattr("sw.gates.run_yosys", refuse)
    assert size(lambda m, a, b: Mux(a, b, ~b), tmp_path) == first > 0
    with pytest.raises(AssertionError, match="synthesised again"):
        size(lambda m, a, b: a | b, tmp_path)


def test_a_cell_without_a_size_is_an_error(tmp_path, monkeypatch):
    def latch(_, log):
        log.with_suffix(".json").write_text(
            json.dumps({"design": {"num_cells_by_type": {"NOT": 1, "$_DLATCH_P_": 2}}}))

    monkeypatch.setattr("sw.gates.run_yosys", latch)
    with pytest.raises(UserError, match="block has cells without a size in gate equivalents: "
                                        r"\$_DLATCH_P_"):
        size(lambda m, a, b: a, tmp_path)
