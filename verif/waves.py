"""Ports of a component as its Verilog names them, and GTKWave save files that group them."""

from dataclasses import dataclass

from amaranth.hdl import Const, Value
from amaranth.lib.wiring import Flow


__all__ = ["Port", "top_ports", "write_save_file"]


@dataclass(frozen=True)
class Port:
    """One port of a top module.

    Parameters
    ----------
    name : str
        Name in the Verilog.
    width : int
        Bits.
    input : bool
        Whether the surroundings drive it.
    group : str
        Stream or interface that it belongs to; empty for a port by itself.
    """

    name: str
    width: int
    input: bool
    group: str


def groups(signature, prefix=()):
    """Paths of the streams and other interfaces inside a signature."""
    for name, member in signature.members.items():
        if member.is_signature:
            yield (*prefix, name)
            yield from groups(member.signature, (*prefix, name))


def top_ports(component):
    """Ports of the component's emitted module, without clock and reset, in order."""
    known = sorted(groups(component.signature), key=len, reverse=True)
    ports = []
    for path, member, value in component.signature.flatten(component):
        value = Value.cast(value)
        # Constants, such as the ready of a stream that is always ready, have no port.
        if isinstance(value, Const) or not len(value):
            continue
        names = tuple(item for item in path if isinstance(item, str))
        group = next((prefix for prefix in known if names[:len(prefix)] == prefix), ())
        ports.append(Port("__".join(map(str, path)), len(value), member.flow == Flow.In,
                          ".".join(group)))
    return ports


def write_save_file(path, wave_file, top, ports):
    """Write a GTKWave save file that shows clock, reset and ports, grouped by stream."""
    lines = [f'[dumpfile] "{wave_file}"', "[timestart] 0", "@28", f"{top}.clk", f"{top}.rst"]
    shown = None
    for port in sorted(ports, key=lambda port: port.group):
        if port.group != shown:
            shown = port.group
            lines += ["@200", f"-{shown or 'ports'}"]
        # 28: a bit; 22: a vector, in hexadecimal.
        lines += ["@28" if port.width == 1 else "@22",
                  f"{top}.{port.name}" + (f"[{port.width - 1}:0]" if port.width > 1 else "")]
    path.write_text("\n".join(lines) + "\n")
