"""Simulation model of the ECP5's multiplier block, as far as :mod:`hw.primitives` uses it."""

__all__ = ["multiplier_model"]


MODEL = """
// Simulators have no model of the block; synthesis has the block itself.
`ifndef SYNTHESIS
module MULT18X18D({ports}, input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0);
  parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_OUTPUT_CLK = "NONE";
  wire [17:0] a = {{{a}}};
  wire [17:0] b = {{{b}}};
  reg [17:0] a_reg = 0;
  reg [17:0] b_reg = 0;
  reg [35:0] p = 0;
  reg signed_a = 0;
  reg signed_b = 0;
  assign {{{p}}} = p;
  initial if (REG_INPUTA_CLK != "CLK0" || REG_INPUTB_CLK != "CLK0" || REG_OUTPUT_CLK != "CLK0")
    $display("FAIL: a register is missing");
  always @(posedge CLK0) if (CE0) begin
    a_reg <= a; b_reg <= b; signed_a <= SIGNEDA; signed_b <= SIGNEDB;
    p <= {{{{18{{a_reg[17] & signed_a}}}}, a_reg}} * {{{{18{{b_reg[17] & signed_b}}}}, b_reg}};
  end
endmodule
`endif
"""


def multiplier_model():
    """Verilog of ``MULT18X18D`` with registers at both inputs and at the output."""
    names = {letter: [f"{letter.upper()}{n}" for n in reversed(range(width))]
             for letter, width in (("a", 18), ("b", 18), ("p", 36))}
    ports = ", ".join([f"input {name}" for name in names["a"] + names["b"]]
                      + [f"output {name}" for name in names["p"]])
    return MODEL.format(ports=ports, **{key: ", ".join(value) for key, value in names.items()})
