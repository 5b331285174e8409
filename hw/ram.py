"""Memories as Verilog modules of their own: written once, replaced easily by a memory macro.

Amaranth writes out the initial value of every row, bit by bit, which takes minutes for a megabyte.
Here a memory becomes an instance of a module of a few lines, which simulators read fast, synthesis
maps to block RAM, and a chip's back end replaces by a macro of the same ports.
"""

from amaranth.hdl import ClockSignal, Instance, Shape


__all__ = ["ram_instance", "ram_key", "ram_module"]

#: Rows that one loop clears: Yosys takes time in proportion to the square of a loop's length.
ROWS = 256


def ram_key(memory):
    """All that the module of a memory depends on."""
    writes, reads = memory.write_ports, memory.read_ports
    for port in writes:
        assert port.domain == "sync", f"memory write port in domain {port.domain!r}"
    return (
        memory.depth, Shape.cast(memory.shape).width,
        tuple(len(port.en) for port in writes),
        tuple((port.domain, tuple(writes.index(w) for w in port.transparent_for))
              for port in reads),
        tuple(trimmed(memory)),
    )


def trimmed(memory):
    """Initial values as integers, without the zeros at the end."""
    rows = [int(row) for row in memory.data._init._raw]
    while rows and rows[-1] == 0:
        rows.pop()
    return rows


def ram_instance(memory, name):
    """Instance of the module ``name`` with the ports of ``memory``."""
    ports = {"i_clk": ClockSignal()}
    for n, port in enumerate(memory.write_ports):
        ports |= {f"i_w{n}_en": port.en, f"i_w{n}_addr": port.addr, f"i_w{n}_data": port.data}
    for n, port in enumerate(memory.read_ports):
        ports |= {f"i_r{n}_en": port.en, f"i_r{n}_addr": port.addr, f"o_r{n}_data": port.data}
    return Instance(name, **ports)


def ram_module(name, key):
    """Verilog-2005 of a memory; ``key`` is from :func:`ram_key`."""
    depth, width, writes, reads, init = key
    address = max(1, (depth - 1).bit_length())
    ports, body = ["input clk"], []
    for n, enables in enumerate(writes):
        ports += [f"input [{enables - 1}:0] w{n}_en", f"input [{address - 1}:0] w{n}_addr",
                  f"input [{width - 1}:0] w{n}_data"]
        chunk = width // enables
        for e in range(enables):
            part = f"[{chunk * e + chunk - 1}:{chunk * e}]" if enables > 1 else ""
            body.append(f"  always @(posedge clk) if (w{n}_en[{e}]) "
                        f"mem[w{n}_addr]{part} <= w{n}_data{part};")
    for n, (domain, transparent) in enumerate(reads):
        ports += [f"input r{n}_en", f"input [{address - 1}:0] r{n}_addr"]
        if domain == "comb":
            ports.append(f"output [{width - 1}:0] r{n}_data")
            body.append(f"  assign r{n}_data = mem[r{n}_addr];")
            continue
        ports.append(f"output reg [{width - 1}:0] r{n}_data")
        body.append(f"  always @(posedge clk) if (r{n}_en) begin")
        body.append(f"    r{n}_data <= mem[r{n}_addr];")
        for w in transparent:
            chunk = width // writes[w]
            for e in range(writes[w]):
                part = f"[{chunk * e + chunk - 1}:{chunk * e}]"
                body.append(f"    if (w{w}_en[{e}] && w{w}_addr == r{n}_addr) "
                            f"r{n}_data{part} <= w{w}_data{part};")
        body.append("  end")
    start = [f"  initial begin : clear_{row} integer row; for (row = {row}; "
             f"row < {min(row + ROWS, depth)}; row = row + 1) mem[row] = 0; end"
             for row in range(len(init), depth, ROWS)]
    if init:
        rows = " ".join(f"mem[{n}] = {width}'h{value:x};" for n, value in enumerate(init))
        start.append(f"  initial begin {rows} end")
    return "\n".join([
        f"module {name}({', '.join(ports)});", f"  reg [{width - 1}:0] mem [0:{depth - 1}];",
        *start, *body, "endmodule", ""])
