"""What stands around a system on a board: clock, pads and lamps."""

from amaranth import *
from amaranth.build import Attrs, Pins, Resource, ResourceError, Subsignal
from amaranth.lib import io

from hw.verilog import convert

from .check import CHECK_CONFIG, Check
from .clock import BoardClock
from .memory.ram import Ram
from .memory.sdram import Sdram
from .memory.sdram_chip import CHIPS
from .memory.sdram_pads import SdramPads, clock_delay
from .soc import Soc


__all__ = ["BoardTop", "prepare"]

#: Name of the module of the system, and of what is around it.
SYSTEM, TOP = "system", "top"

#: Pins of boards that must not be left to themselves: on a ULX3S, the ESP32 may reset the FPGA
#: if its GPIO0 is not high.
HIGH = {"ulx3s": (("esp32", "gpio0"),)}

#: Serial ports that are not in the board's own file.
SERIAL = {"orangeCrab": dict(rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33"))}


class BoardTop(Elaboratable):
    """A board's system with its clock, its pads, and up to four lamps.

    ======== ================================================================
    lamp     shows
    ======== ================================================================
    1        blinks once a second: the clock runs; fast: the last run ended with a fault
    2        a run is under way
    3        the last run ended with a fault
    4        something was received
    ======== ================================================================

    Parameters
    ----------
    board : :class:`fpga.boards.Board`
    config : :class:`hw.config.Config` or None
        Of the machine; None for :class:`fpga.check.Check`.
    """

    def __init__(self, board, config=None):
        self.board, self.config = board, config
        self.chip = CHIPS[board.chip] if board.chip else None
        delay, trip = clock_delay(board.core_hz) if self.chip else (None, 0)
        buses = config or CHECK_CONFIG
        memory = (Sdram(buses, self.chip, board.core_hz, trip) if self.chip
                  else Ram(buses, board.ram))
        options = dict(clock_hz=board.core_hz, baud=board.baud)
        if board.family == "ice40":
            # Payloads take the block RAM of 4 kbit that there is.
            options["block"] = 256
        self.system = Soc(config, memory, **options) if config else Check(memory, **options)
        self.clock = BoardClock(board, delay)

    def verilog(self):
        """The system."""
        return convert(self.system, SYSTEM)

    def elaborate(self, platform):
        m = Module()
        m.domains += self.clock.domains
        m.submodules.clock = self.clock
        if self.board.loader in SERIAL:
            platform.add_resources([serial_port(**SERIAL[self.board.loader])])
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        ports = {"i_rx": rx.i, "o_tx": tx.o, "i_clk": ClockSignal(), "i_rst": ResetSignal()}
        running, fault = Signal(), Signal()
        ports |= {"o_running": running, "o_fault": fault}
        if self.chip:
            m.submodules.sdram = pads = SdramPads(self.chip, platform.request("sdram", dir="-"))
            for name, member in self.system.signature.members.items():
                if name in self.system.memory.signature.members:
                    ports[f"{'i' if member.flow.name == 'In' else 'o'}_{name}"] = getattr(pads,
                                                                                         name)
        m.submodules.system = Instance(SYSTEM, **ports)
        self._lamps(m, platform, running, fault, rx.i)
        for resource, part in HIGH.get(self.board.loader, ()):
            m.submodules[part] = pad = io.Buffer(
                "o", getattr(platform.request(resource, dir="-"), part))
            m.d.comb += pad.o.eq(1)
        return m

    def _lamps(self, m, platform, running, fault, line):
        """As many as the board has, the first ones first."""
        time = Signal(range(self.board.core_hz))
        m.d.sync += time.eq(Mux(time == self.board.core_hz - 1, 0, time + 1))
        # A byte is too short to be seen: it lights for as long as 20 ms.
        seen = Signal(range(self.board.core_hz // 50 + 1))
        m.d.sync += seen.eq(Mux(seen == 0, 0, seen - 1))
        quiet = Signal(2, init=3)
        m.d.sync += quiet.eq(Cat(line, quiet))
        with m.If(~quiet[1]):
            m.d.sync += seen.eq(self.board.core_hz // 50)
        slow, fast = len(time) - 1, len(time) - 4
        shows = (Mux(fault, time[fast], time[slow]), running, fault, seen != 0)
        for n, (port, value) in enumerate(zip(lamps(platform, len(shows)), shows)):
            m.submodules[f"lamp_{n}"] = pad = io.Buffer("o", port)
            m.d.comb += pad.o.eq(value)


def serial_port(rx, tx, conn, attrs):
    """A serial port at pins of a connector."""
    return Resource("uart", 0, Subsignal("rx", Pins(rx, dir="i", conn=conn)),
                    Subsignal("tx", Pins(tx, dir="o", conn=conn)), attrs)


def prepare(board, config=None, **overrides):
    """The files of a design for the vendor's or the open tools, and the commands that take them.

    Parameters
    ----------
    board : :class:`fpga.boards.Board`
    config : :class:`hw.config.Config` or None
        Of the machine; None for the check design.
    overrides : dict
        Of Amaranth's platform, such as ``nextpnr_opts``.

    Returns
    -------
    ``amaranth.build.run.BuildPlan``
    """
    top, platform = BoardTop(board, config), board.platform_class()
    platform.add_file(f"{SYSTEM}.v", top.verilog())
    # Without the places of sources, which differ between machines.
    return platform.prepare(top, TOP, emit_src=False, **overrides)


def lamps(platform, most):
    """Ports of up to ``most`` lamps; those of three colours count as three."""
    found = []
    for number in range(most):
        for name in ("led", "rgb_led"):
            try:
                one = platform.request(name, number, dir="-")
            except ResourceError:
                continue
            found += [one] if name == "led" else [one.g, one.b, one.r]
    return found[:most]
