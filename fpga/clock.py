"""The clock of a board's system, and its reset."""

from amaranth import *
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from .pll import ECP5, XILINX7, dividers, phase_steps


__all__ = ["BoardClock"]

#: Cycles that the reset lasts once the clock is steady; block RAM of the iCE40 takes 3 us.
RESET_CYCLES = 256


class BoardClock(Elaboratable):
    """Drives the domain ``sync`` from the oscillator, and ``sdram``, which is as fast but late.

    Who contains it has to have :attr:`domains`.

    The reset of ``sync`` begins when the clock generator loses its lock, and ends synchronously.

    Parameters
    ----------
    board : :class:`fpga.boards.Board`
    delay : Fraction or None
        Seconds by which ``sdram`` is late; None if there is no such domain. ECP5 only.
    """

    def __init__(self, board, delay=None):
        self.board, self.delay = board, delay
        self.pll = None
        if board.core_hz != board.clock_hz or delay is not None:
            if board.family not in GENERATORS:
                raise ValueError(f"{board.title} has no clock generator here: its system runs at "
                                 f"{board.clock_hz / 1e6:g} MHz")
            self.pll = dividers(board.clock_hz, board.core_hz, GENERATORS[board.family][0])

    @property
    def domains(self):
        """The domains that are driven."""
        late = [] if self.delay is None else [ClockDomain("sdram", reset_less=True)]
        return [ClockDomain("sync"), *late]

    def elaborate(self, platform):
        m = Module()
        m.domains.early = ClockDomain("early")
        m.submodules.pad = pad = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        clock, locked = Signal(), Signal(init=1)
        m.d.comb += [ClockSignal("sync").eq(clock), ClockSignal("early").eq(clock)]
        if self.pll is None:
            m.d.comb += clock.eq(pad.i)
        else:
            GENERATORS[self.board.family][1](self, m, pad.i, clock, locked)

        # ``early`` starts with the lock, ``sync`` some time behind it.
        m.submodules.lock = ResetSynchronizer(~locked, domain="early")
        left, reset = Signal(range(RESET_CYCLES), init=RESET_CYCLES - 1), Signal(init=1)
        m.d.comb += ResetSignal("sync").eq(reset)
        m.d.early += reset.eq(left != 0)
        with m.If(left != 0):
            m.d.early += left.eq(left - 1)
        return m

    def ecp5(self, m, source, clock, locked):
        """EHXPLLL; its third output is the feedback, so that all rates can be had."""
        pll = self.pll
        feedback = Signal()
        outputs = {"OP": (pll.output, pll.output - 1, 0, clock),
                   "OS3": (pll.feedback, pll.feedback - 1, 0, feedback)}
        if self.delay is not None:
            whole, eighths = phase_steps(pll, self.delay)
            outputs["OS"] = (pll.output, pll.output - 1 + whole, eighths, ClockSignal("sdram"))
        ports = {}
        for name, (divider, whole, eighths, signal) in outputs.items():
            ports |= {f"p_CLK{name}_ENABLE": "ENABLED", f"p_CLK{name}_DIV": divider,
                      f"p_CLK{name}_CPHASE": whole, f"p_CLK{name}_FPHASE": eighths,
                      f"o_CLK{name}": signal}
        m.submodules.pll = Instance(
            "EHXPLLL",
            # As Lattice's and Trellis' generators of settings write them.
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=pll.input, p_CLKFB_DIV=1, p_FEEDBK_PATH="CLKOS3",
            i_CLKI=source, i_CLKFB=feedback, i_RST=Const(0), i_STDBY=Const(0),
            i_PHASESEL0=Const(0), i_PHASESEL1=Const(0), i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1), i_PHASELOADREG=Const(1), i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0), o_LOCK=locked, **ports)

    def xilinx7(self, m, source, clock, locked):
        """PLLE2_BASE and a global buffer."""
        pll, made, feedback = self.pll, Signal(), Signal()
        m.submodules.pll = Instance(
            "PLLE2_BASE", p_CLKIN1_PERIOD=1e9 / self.board.clock_hz, p_DIVCLK_DIVIDE=pll.input,
            p_CLKFBOUT_MULT=pll.feedback, p_CLKOUT0_DIVIDE=pll.output,
            i_CLKIN1=source, i_CLKFBIN=feedback, i_RST=Const(0), i_PWRDWN=Const(0),
            o_CLKFBOUT=feedback, o_CLKOUT0=made, o_LOCKED=locked)
        m.submodules.buffer = Instance("BUFG", i_I=made, o_O=clock)


#: Family -> limits of its clock generator, and who places it.
GENERATORS = {"ecp5": (ECP5, BoardClock.ecp5), "xilinx7": (XILINX7, BoardClock.xilinx7)}
