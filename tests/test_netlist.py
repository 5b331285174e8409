"""What cells of a netlist for the ECP5 do in its simulator, and what the simulator refuses."""

import json
import random

import numpy as np
import pytest

from hw.primitives import Multiplier
from hw.ram import ram_module
from hw.verilog import convert
from sim.netlist import NetlistModule
from sw.errors import UserError
from sw.synthesis import synthesise


def module_of(verilog, folder, top="block"):
    """The netlist of a module, as Yosys's JSON has it."""
    return json.loads(synthesise(verilog, top, folder).read_text())["modules"][top]


def kinds(module):
    return {cell["type"] for cell in module["cells"].values()}


def parameters(module, kind, name):
    """Values that a parameter has in the cells of a kind."""
    return {cell["parameters"].get(name, "").strip() for cell in module["cells"].values()
            if cell["type"] == kind}


LUTS = """
module block(input clk, input [6:0] at, output reg [7:0] o);
  always @* case (at) {cases} endcase
endmodule
"""


def test_lookup_tables_and_multiplexers(tmp_path):
    rows = np.random.default_rng(1).integers(0, 256, 128)
    cases = " ".join(f"{n}: o = {row};" for n, row in enumerate(rows))
    module = module_of(LUTS.format(cases=cases), tmp_path)
    assert {"LUT4", "PFUMX", "L6MUX21"} <= kinds(module)
    model = NetlistModule(module)
    for at, row in enumerate(rows):
        model.put(at=at)
        assert model.get("o") == row


SUMS = """
module block(input clk, input [40:0] a, b, input [3:0] s, output [40:0] plus, minus, output less);
  assign plus = a + b + s[0];
  assign minus = s[1] ? a - b : b - a;
  assign less = a < b;
endmodule
"""


def test_carry_cells(tmp_path):
    module = module_of(SUMS, tmp_path)
    assert "CCU2C" in kinds(module)
    model, draw, mask = NetlistModule(module), random.Random(2), (1 << 41) - 1
    for _ in range(500):
        a = draw.getrandbits(41)
        b = draw.choice((draw.getrandbits(41), a, a ^ 1 << draw.randrange(41), ~a & mask))
        s = draw.getrandbits(4)
        model.put(a=a, b=b, s=s)
        assert model.get("plus") == a + b + (s & 1) & mask
        assert model.get("minus") == (a - b if s & 2 else b - a) & mask
        assert model.get("less") == (a < b)


REGISTERS = """
module block(input clk, rst, en, input [3:0] i, output reg [3:0] plain, held, low, high, late);
  initial high = 9;
  always @(posedge clk) begin
    plain <= i;
    late <= plain;
    if (en) held <= i;
    if (rst) low <= 0; else if (!en) low <= i;
    if (!rst) high <= 9; else if (en) high <= i;
  end
endmodule
"""


def test_registers(tmp_path):
    module = module_of(REGISTERS, tmp_path)
    assert parameters(module, "TRELLIS_FF", "CEMUX") == {"1", "CE", "INV"}
    assert parameters(module, "TRELLIS_FF", "REGSET") == {"SET", "RESET"}
    model, draw = NetlistModule(module), random.Random(3)
    wanted = dict(plain=0, held=0, low=0, high=9, late=0)
    for _ in range(300):
        assert {name: model.get(name) for name in wanted} == wanted
        i, en, rst = draw.getrandbits(4), draw.getrandbits(1), draw.getrandbits(1)
        model.put(i=i, en=en, rst=rst)
        model.tick()
        wanted = dict(plain=i, late=wanted["plain"], held=i if en else wanted["held"],
                      low=0 if rst else wanted["low"] if en else i,
                      high=9 if not rst else i if en else wanted["high"])


@pytest.mark.parametrize("a_bits, b_bits, signed", [(18, 18, True), (18, 18, False), (9, 12, True),
                                                    (24, 24, False)])
def test_multipliers(a_bits, b_bits, signed, tmp_path):
    component = Multiplier(a_bits, b_bits, "ecp5", signed=signed)
    module = module_of(convert(component, "block"), tmp_path)
    assert parameters(module, "MULT18X18D", "REG_OUTPUT_CLK") == {"CLK0"}
    model, draw, pipe = NetlistModule(module), random.Random(4), []
    for _ in range(100):
        a, b = draw.getrandbits(a_bits), draw.getrandbits(b_bits)
        model.put(a=a, b=b)
        model.tick()
        factors = [value - (1 << bits) if signed and value >> bits - 1 else value
                   for value, bits in ((a, a_bits), (b, b_bits))]
        pipe.append(factors[0] * factors[1] & (1 << a_bits + b_bits) - 1)
        if len(pipe) >= component.latency:
            assert model.get("o") == pipe[-component.latency]


def test_a_multiplier_without_registers(tmp_path):
    module = module_of("module block(input clk, input signed [15:0] a, b, output signed [31:0] o);"
                       "\n  assign o = a * b;\nendmodule\n", tmp_path)
    assert parameters(module, "MULT18X18D", "REG_OUTPUT_CLK") == {""}
    model, draw = NetlistModule(module), random.Random(5)
    for _ in range(100):
        a, b = draw.randrange(-2**15, 2**15), draw.randrange(-2**15, 2**15)
        model.put(a=a & 0xFFFF, b=b & 0xFFFF)
        assert model.get("o") == a * b & 0xFFFFFFFF


class Memory:
    """What :mod:`hw.ram` makes: read data are old data, or, if transparent, new ones."""

    def __init__(self, depth, width, enables, transparent, init):
        self.rows = init + [0] * (depth - len(init))
        self.width, self.enables, self.transparent = width, enables, transparent

    def clock(self, en, addr, data, read_en, read_addr, before):
        chunk, old = self.width // self.enables, self.rows[read_addr]
        for n in range(self.enables):
            if en >> n & 1:
                mask = (1 << chunk) - 1 << chunk * n
                self.rows[addr] = self.rows[addr] & ~mask | data & mask
        if not read_en:
            return before
        return self.rows[read_addr] if self.transparent else old


@pytest.mark.parametrize("depth, width, enables, transparent, cell, port", [
    (512, 36, 4, False, "DP16KD", 36), (512, 36, 1, True, "DP16KD", 36),
    (1024, 18, 2, False, "DP16KD", 18), (2048, 9, 1, False, "DP16KD", 9),
    (4096, 4, 1, False, "DP16KD", 4), (16384, 1, 1, True, "DP16KD", 1),
    (700, 40, 5, False, "DP16KD", 18),
    (16, 8, 1, False, "TRELLIS_DPR16X4", None)], ids=str)
def test_memories(depth, width, enables, transparent, cell, port, tmp_path):
    draw = random.Random(6)
    rows = min(depth // 2, 300) if cell == "DP16KD" else 0
    init = [draw.getrandbits(width) for _ in range(rows)]
    text = ram_module("block", (depth, width, (enables,),
                                (("sync", (0,) if transparent else ()),), tuple(init)))
    module = module_of(text, tmp_path)
    assert cell in kinds(module)
    if port:
        assert port in {int(text, 2) for text in parameters(module, cell, "DATA_WIDTH_A")}
    model, memory, read = NetlistModule(module), Memory(depth, width, enables, transparent, init), 0
    # Few rows, so that what was written is read, and in the same cycle too.
    rows = [draw.randrange(depth) for _ in range(8)]
    for cycle in range(1500):
        addr, read_addr = ((draw.choice(rows) if draw.getrandbits(1) else draw.randrange(depth))
                           for _ in range(2))
        if draw.getrandbits(2) == 0:
            read_addr = addr
        en, data, read_en = draw.getrandbits(enables), draw.getrandbits(width), draw.getrandbits(1)
        model.put(w0_en=en, w0_addr=addr, w0_data=data, r0_en=read_en, r0_addr=read_addr)
        model.tick()
        read = memory.clock(en, addr, data, read_en, read_addr, read)
        assert model.get("r0_data") == read, f"cycle {cycle}"


def a_ram(**parameters):
    """Netlist of a block RAM; its ports are those of side A, in lower case."""
    nets, ports = iter(range(2, 200)), {}
    for name, bits, way in (("clk", 1, "input"), ("ce", 1, "input"), ("oce", 1, "input"),
                            ("we", 1, "input"), ("rst", 1, "input"), ("cs", 3, "input"),
                            ("ad", 14, "input"), ("di", 18, "input"), ("do", 18, "output")):
        ports[name] = {"direction": way, "bits": [next(nets) for _ in range(bits)]}
    pins = {f"{name.upper()}A": [ports[name]["bits"][0]]
            for name in ("clk", "ce", "oce", "we", "rst")}
    pins |= {f"{name.upper()}A{n}": [net] for name in ("cs", "ad", "di", "do")
             for n, net in enumerate(ports[name]["bits"])}
    return {"ports": ports, "cells": {"it": {"type": "DP16KD", "parameters": parameters,
                                             "connections": pins}}}


@pytest.mark.parametrize("late", [False, True], ids=["NOREG", "OUTREG"])
@pytest.mark.parametrize("mode", ["NORMAL", "READBEFOREWRITE", "WRITETHROUGH"])
def test_a_port_that_reads_and_writes(mode, late):
    """Byte enables, chip select, reset, the modes of writing, and the second register."""
    start, first = 0b10_0000_0001_1111_1111, 0b01_0101_0110_0110_1100
    model = NetlistModule(a_ram(
        WRITEMODE_A=mode, REGMODE_A="OUTREG" if late else "NOREG", CSDECODE_A="0b101",
        INITVAL_00=f"{start << 20 * 3 | first:b}"))
    draw, rows, read, shown = random.Random(7), {0: first, 3: start}, 0, 0
    for _ in range(2000):
        row, data, cs = draw.choice((0, 3, 1023)), draw.getrandbits(18), draw.choice((5, 5, 1))
        we, ce, oce, enables = (draw.getrandbits(n) for n in (1, 1, 1, 2))
        rst = draw.randrange(8) == 0
        model.put(ad=row << 4 | enables, di=data, we=we, ce=ce, oce=oce, rst=rst, cs=cs)
        model.tick()
        mask = (0x1FF if enables & 1 else 0) | (0x3FE00 if enables & 2 else 0)
        old = rows.get(row, 0)
        active = ce and cs == 5
        if active and we and not rst:
            rows[row] = old & ~mask | data & mask
        shown = 0 if rst else read if oce else shown
        if rst:
            read = 0
        elif active and not (we and mode == "NORMAL"):
            read = rows.get(row, 0) if mode == "WRITETHROUGH" else old
        assert model.get("do") == (shown if late else read)


def one_cell(kind, pins, values=None):
    """A netlist of a cell between a clock, an input and an output."""
    ports = {"clk": {"direction": "input", "bits": [2]}, "i": {"direction": "input", "bits": [3]},
             "o": {"direction": "output", "bits": [4]}}
    return {"ports": ports, "cells": {"it": {
        "type": kind, "parameters": values or {},
        "connections": {name: [net] for name, net in pins.items()}}}}


@pytest.mark.parametrize("module, said", [
    (one_cell("DCCA", {}), "the simulator of netlists has no cell DCCA, as is it"),
    (one_cell("TRELLIS_FF", {"CLK": 3, "DI": 3, "Q": 4}),
     "pin CLK of it (TRELLIS_FF) has another clock than clk"),
    (one_cell("TRELLIS_FF", {"CLK": 2, "DI": 3, "Q": 4}, {"SRMODE": "ASYNC"}),
     "cell it (TRELLIS_FF) has SRMODE 'ASYNC', of which the simulator of netlists knows only "
     "LSR_OVER_CE"),
    (one_cell("LUT4", {"A": 4, "Z": 4}, {"INIT": "01"}),
     "the netlist has a loop of 1 cells without a register"),
    (one_cell("MULT18X18D", {}, {"REG_OUTPUT_CLK": "CLK0"}),
     "multiplier it has some registers, and not others"),
    (one_cell("DP16KD", {"CEA": 3, "WEA": 3, "CLKA": "0"}),
     "block RAM it is written without a clock"),
    (one_cell("DP16KD", {"RSTA": 3}, {"RESETMODE": "ASYNC"}),
     "block RAM it has a reset without a clock"),
    (one_cell("DP16KD", {}, {"DATA_WIDTH_A": "100100"}),
     "block RAM it: port A writes 36 bits, port B reads them"),
])
def test_what_is_not_known_is_refused(module, said):
    with pytest.raises(UserError) as caught:
        NetlistModule(module)
    assert str(caught.value) == said


def test_what_the_other_port_writes_is_read_inverted():
    """The hardware promises nothing then; a design that relies on it must fail."""
    ram = a_ram()
    pins, ports = ram["cells"]["it"]["connections"], ram["ports"]
    ports["read"] = {"direction": "output", "bits": list(range(300, 318))}
    pins |= {"CLKB": pins["CLKA"], "CEB": ["1"]}
    pins |= {f"ADB{n}": pins[f"ADA{n}"] for n in range(14)}
    pins |= {f"DOB{n}": [net] for n, net in enumerate(ports["read"]["bits"])}
    model = NetlistModule(ram)
    model.put(ce=1, we=1, ad=16 | 0b01, di=0x0F0)     # the lower byte of row 1
    model.tick()
    assert model.get("read") == 0x1FF
    model.put(we=0)
    model.tick()
    assert model.get("read") == 0x0F0
    model.put(we=1, di=0)
    model.tick()
    assert model.get("read") == 0x10F
