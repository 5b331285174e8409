// A ULX3S around the top module of a bitstream: oscillator, cable and SDRAM, and models of the
// FPGA's cells, with the times that data sheets give.

`timescale 1ns / 1ps

// Cells. Out of a register and through a pad it takes 3.5 ns, through a pad into one 0.5 ns.

module IB(input I, output O);
  assign #0.5 O = I;
endmodule

module OBZ(input I, T, output O);
  assign #3 O = T ? 1'bz : I;
endmodule

module BB(input I, T, output O, inout B);
  assign #3 B = T ? 1'bz : I;
  assign #0.5 O = B;
endmodule

module IFS1P3DX(input D, SP, SCLK, CD, output reg Q = 0);
  always @(posedge SCLK) if (SP) Q <= D;
endmodule

module OFS1P3DX(input D, SP, SCLK, CD, output reg Q = 0);
  always @(posedge SCLK) if (SP) Q <= #0.5 D;
endmodule

module FD1S3AX(input D, CK, output reg Q = 0);
  always @(posedge CK) Q <= #0.5 D;
endmodule

module ODDRX1F(input D0, D1, SCLK, RST, output reg Q = 0);
  always @(posedge SCLK) Q <= #0.5 D0;
  always @(negedge SCLK) Q <= #0.5 D1;
endmodule

// Rates follow from the dividers alone, phases from the counters' starts.
module EHXPLLL(input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP,
               PHASELOADREG, PLLWAKESYNC, ENCLKOP, output reg CLKOP = 0,
               output reg CLKOS = 0, output reg CLKOS3 = 0, output reg LOCK = 0);
  parameter PLLRST_ENA = "", INTFB_WAKE = "", STDBY_ENABLE = "", DPHASE_SOURCE = "",
            OUTDIVIDER_MUXA = "", OUTDIVIDER_MUXB = "", OUTDIVIDER_MUXC = "", OUTDIVIDER_MUXD = "",
            FEEDBK_PATH = "", CLKOP_ENABLE = "", CLKOS_ENABLE = "", CLKOS3_ENABLE = "";
  parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0,
            CLKOS_DIV = 1, CLKOS_CPHASE = 0, CLKOS_FPHASE = 0, CLKOS3_DIV = 1, CLKOS3_CPHASE = 0,
            CLKOS3_FPHASE = 0;
  real began, step;
  initial begin
    if (FEEDBK_PATH != "CLKOS3") begin $display("FAIL: another feedback"); $finish; end
    @(posedge CLKI) began = $realtime;
    @(posedge CLKI) step = ($realtime - began) * CLKI_DIV / (CLKFB_DIV * CLKOS3_DIV);
    if (step < 1.25 || step > 2.5) begin
      $display("FAIL: the oscillator has a period of %f ns", step);
      $finish;
    end
    fork
      begin
        #((CLKOP_CPHASE + 1 + CLKOP_FPHASE / 8.0) * step);
        forever #(CLKOP_DIV * step / 2) CLKOP = ~CLKOP;
      end
      begin
        #((CLKOS_CPHASE + 1 + CLKOS_FPHASE / 8.0) * step);
        forever #(CLKOS_DIV * step / 2) CLKOS = ~CLKOS;
      end
      #1000 LOCK = 1;
    join
  end
endmodule

// A chip with a latency of 2 and 16 rows; what it gives is unknown outside its times.
module chip(input clk, cke, cs_n, input [2:0] command, input [1:0] ba, input [12:0] a,
            input [1:0] dqm, inout [15:0] dq);
  reg [15:0] cells [0:32767];
  reg [3:0] rows [0:3];
  reg [15:0] given = 16'bx;
  reg [14:0] from = 0, at = 0;
  reg drives = 0;
  integer burst = 1, reading = 0, writing = 0;
  real edge_at = 0, changed = 0;
  assign dq = drives ? given : 16'bz;

  wire [33:0] taken = {command, ba, a, drives ? 16'b0 : dq};
  always @(taken) begin
    changed = $realtime;
    if (clk === 1 && $realtime > 2000 && $realtime - edge_at < 1.0) begin
      $display("FAIL: held for %f ns", $realtime - edge_at);
      $finish;
    end
  end

  always @(posedge clk) begin
    edge_at = $realtime;
    if ($realtime > 2000 && $realtime - changed < 1.5) begin
      $display("FAIL: set up for %f ns", $realtime - changed);
      $finish;
    end
    // What was asked for at the edge before.
    if (reading > 0) begin
      drives <= #2.5 1;
      given <= #2.5 16'bx;
      given <= #6.0 cells[from];
      from = from + 1;
      reading = reading - 1;
    end else begin
      drives <= #2.5 0;
      given <= #2.5 16'bx;
    end
    if (cke && !cs_n) case (command)
      3'b011: rows[ba] = a[3:0];
      3'b000: begin
        burst = 1 << a[2:0];
        if (a[6:4] != 2) begin $display("FAIL: mode %h", a); $finish; end
      end
      3'b101: begin
        from = {rows[ba], ba, a[8:0]};
        reading = burst;
      end
      3'b100: begin
        at = {rows[ba], ba, a[8:0]};
        writing = burst;
      end
    endcase
    if (writing > 0) begin
      if (!dqm[0]) cells[at][7:0] = dq[7:0];
      if (!dqm[1]) cells[at][15:8] = dq[15:8];
      at = at + 1;
      writing = writing - 1;
    end
  end
endmodule

// Sends the frames in sent.hex, each when the one before was answered; prints what comes.
module board;
  parameter BYTES = 1, BIT = 80;
  reg clk25 = 0, rx = 1;
  wire tx, clk, cke, cs_n, ras, cas, we, high;
  wire [1:0] ba, dqm;
  wire [12:0] a;
  wire [15:0] dq;
  wire [3:0] led;
  reg [7:0] bytes [0:BYTES - 1];
  reg [7:0] shift;
  integer n, m, k, sent = 0, answered = 0;

  always #20 clk25 = ~clk25;
  top top(.clk25_0__io(clk25), .uart_0__rx__io(rx), .uart_0__tx__io(tx), .sdram_0__clk__io(clk),
          .sdram_0__clk_en__io(cke), .sdram_0__cs__io(cs_n), .sdram_0__ras__io(ras),
          .sdram_0__cas__io(cas), .sdram_0__we__io(we), .sdram_0__ba__io(ba), .sdram_0__a__io(a),
          .sdram_0__dqm__io(dqm), .sdram_0__dq__io(dq), .led_0__io(led[0]), .led_1__io(led[1]),
          .led_2__io(led[2]), .led_3__io(led[3]), .esp32_0__gpio0__io(high));
  chip chip(.clk(clk), .cke(cke), .cs_n(cs_n), .command({ras, cas, we}), .ba(ba), .a(a),
            .dqm(dqm), .dq(dq));

  initial begin
    $readmemh("sent.hex", bytes);
    #20000;
    for (n = 0; n < BYTES; n = n + 1) begin
      rx = 0;
      #BIT for (m = 0; m < 8; m = m + 1) begin
        rx = bytes[n][m];
        #BIT;
      end
      rx = 1;
      #BIT;
      if (bytes[n] == 0) begin
        sent = sent + 1;
        wait (answered == sent);
      end
    end
    if (high !== 1 || led[3] !== 1 || led[1] !== 0) $display("FAIL: lamps %b, %b", led, high);
    $finish;
  end

  initial forever begin
    @(negedge tx) #(BIT * 3 / 2.0);
    for (k = 0; k < 8; k = k + 1) begin
      shift[k] = tx;
      #BIT;
    end
    if (^shift === 1'bx) begin $display("FAIL: a byte is %b", shift); $finish; end
    $display("%h", shift);
    if (shift == 0) answered = answered + 1;
  end

  initial begin
    #5000000 $display("FAIL: no answer");
    $finish;
  end
endmodule
