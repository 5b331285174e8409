"""The multiplier made of ECP5 blocks against the generic one, and what synthesis makes of it."""

import json
import shutil
import subprocess

import pytest
from amaranth.back import rtlil, verilog
from pyosys import libyosys

from hw.ecp5 import multiplier_model
from hw.primitives import Multiplier


#: Drives both multipliers with random operands and the extreme ones.
BENCH = """
module bench;
  reg clk = 0, rst = 0;
  reg [{a}-1:0] a = 0;
  reg [{b}-1:0] b = 0;
  wire [{a}+{b}-1:0] block_o, generic_o;
  block x(.clk(clk), .rst(rst), .a(a), .b(b), .o(block_o));
  generic y(.clk(clk), .rst(rst), .a(a), .b(b), .o(generic_o));
  integer n, seen;
  initial begin
    seen = 0;
    for (n = 0; n < 5000; n = n + 1) begin
      a = {{$random, $random}}; b = {{$random, $random}};
      if (n % 7 == 0) a = 1 << ({a} - 1);
      if (n % 11 == 0) b = 1 << ({b} - 1);
      if (n % 13 == 0) a = -1;
      if (n % 17 == 0) b = -1;
      #1 clk = 1; #1 clk = 0;
      if (n > 4 && block_o !== generic_o) begin
        $display("FAIL: %h, wanted %h", block_o, generic_o); $finish;
      end
      if (n > 4 && generic_o != 0) seen = seen + 1;
    end
    if (seen > 4000) $display("PASS"); else $display("FAIL: only zeros");
    $finish;
  end
endmodule
"""

#: a_width, b_width, signed, and blocks that the product should take.
CASES = [
    (18, 18, True, 1), (18, 18, False, 1), (20, 12, True, 1), (20, 18, True, 2),
    (24, 24, False, 3), (35, 18, True, 2), (42, 12, True, 3), (42, 30, True, 6),
]


@pytest.mark.parametrize("a, b, signed, blocks", CASES)
def test_blocks_compute_what_the_generic_multiplier_does(a, b, signed, blocks, tmp_path):
    sources = {"model": multiplier_model(), "bench": BENCH.format(a=a, b=b)}
    for name, technology in (("block", "ecp5"), ("generic", "generic")):
        sources[name] = verilog.convert(Multiplier(a, b, technology, signed=signed), name=name,
                                        emit_src=False, strip_internal_attrs=True)
    for name, text in sources.items():
        (tmp_path / f"{name}.v").write_text(text)
    subprocess.run([shutil.which("iverilog"), "-g2005", "-s", "bench", "-o", "bench.vvp",
                    *(f"{name}.v" for name in sources)], cwd=tmp_path, check=True)
    told = subprocess.run(["vvp", "bench.vvp"], cwd=tmp_path, check=True, capture_output=True,
                          text=True).stdout
    assert told.strip() == "PASS"


@pytest.mark.parametrize("a, b, signed, blocks", CASES)
def test_synthesis_keeps_the_blocks(a, b, signed, blocks, tmp_path):
    source = tmp_path / "block.il"
    source.write_text(rtlil.convert(Multiplier(a, b, "ecp5", signed=signed), name="block",
                                    emit_src=False))
    design = libyosys.Design()
    for command in (f"read_rtlil {source}", "synth_ecp5 -top block",
                    f"tee -q -o {tmp_path}/stat.json stat -json"):
        libyosys.run_pass(f"tee -q -o {tmp_path}/log {command}", design)
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert cells["MULT18X18D"] == blocks
    if max(a, b) <= 18:
        assert set(cells) == {"MULT18X18D"}, "all registers are the block's"


@pytest.mark.parametrize("arguments, message", [
    ((0, 8), "a_width must be 1 to 52, not 0"),
    ((8, 53), "b_width must be 1 to 52, not 53"),
    ((8, 8, "asic"), "technology must be generic or ecp5, not 'asic'"),
])
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Multiplier(*arguments)
