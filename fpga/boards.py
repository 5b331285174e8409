"""Boards that bitstreams are made for."""

import difflib
import importlib
from dataclasses import dataclass
from functools import cached_property

from sw.errors import UserError

from .memory.sdram_chip import CHIPS


__all__ = ["Board", "BOARDS", "DEFAULT", "board"]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board, as far as the parts around the machine must know it.

    Parameters
    ----------
    name, title : str
        For the command line, and for people.
    family : str
        ``ecp5``, ``ice40`` or ``xilinx7``: which tools make the bitstream.
    device, package, speed : str
        The FPGA as its tools name it.
    clock_hz, core_hz : int
        Of the oscillator, and of the one clock that the system runs at.
    baud : int
        Of the serial line.
    chip : str or None
        SDRAM, a key of :data:`fpga.memory.sdram_chip.CHIPS`; ``None`` for memory on the FPGA.
    ram : int
        Bytes of memory on the FPGA if there is no SDRAM, a power of two.
    preset : str
        Configuration of the machine if none is given.
    loader : str
        What openFPGALoader calls the board.
    usb : tuple of (int, int)
        Vendor and product of the cables by which it is loaded.
    platform : str
        Class with its pins, as ``module:class``; imported only when it is needed.
    note : str
        What a user has to know, as sentences.
    """

    name: str
    title: str
    family: str
    device: str
    package: str
    speed: str
    clock_hz: int
    core_hz: int
    baud: int = 1_000_000
    chip: str | None = None
    ram: int = 0
    preset: str
    loader: str
    usb: tuple
    platform: str
    note: str = ""

    @property
    def memory_bytes(self):
        """Size of the memory that machine and host share."""
        return CHIPS[self.chip].bytes if self.chip else self.ram

    @cached_property
    def platform_class(self):
        """The class with its pins."""
        module, name = self.platform.split(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            raise UserError("pins of boards are in the package amaranth-boards: "
                            "pip install -e '.[fpga]'") from error


#: FT231X and FT2232H of FTDI; CMSIS-DAP; OrangeCrab's boot loader.
FT231X, FT2232H, DAP, CRAB = (0x0403, 0x6015), (0x0403, 0x6010), (0x0D28, 0x0204), (0x1209, 0x5AF0)

DDR3 = "Its DDR3L memory is not used: the machine has memory on the FPGA."

#: ULX3S with SDRAM of 32 MB, in its three sizes of FPGA.
ULX3S = dict(
    family="ecp5", package="CABGA381", speed="6", clock_hz=25_000_000, core_hz=40_000_000,
    chip="ulx3s", loader="ulx3s", usb=(FT231X,))

ORANGECRAB = dict(
    family="ecp5", package="CSFBGA285", speed="8", clock_hz=48_000_000, core_hz=48_000_000,
    loader="orangeCrab", usb=(CRAB,),
    note=f"{DDR3} It has no serial port: join a 3.3 V adapter to the pins 0 (its TX) and 1 (its "
         "RX).")

COLORLIGHT = dict(
    family="ecp5", package="CABGA381", speed="6", clock_hz=25_000_000, core_hz=50_000_000,
    baud=115_200, chip="colorlight", preset="small", usb=(DAP,))

BOARDS = {one.name: one for one in (
    Board(name="ulx3s", title="ULX3S 85F", device="LFE5U-85F", preset="ulx3s",
          platform="amaranth_boards.ulx3s:ULX3S_85F_Platform", **ULX3S),
    Board(name="ulx3s-45f", title="ULX3S 45F", device="LFE5U-45F", preset="small",
          platform="amaranth_boards.ulx3s:ULX3S_45F_Platform", **ULX3S),
    Board(name="ulx3s-25f", title="ULX3S 25F", device="LFE5U-25F", preset="small",
          platform="amaranth_boards.ulx3s:ULX3S_25F_Platform", **ULX3S),
    Board(name="orangecrab-25f", title="OrangeCrab r0.2 25F", device="LFE5U-25F", preset="small",
          ram=1 << 16, platform="amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_25FPlatform",
          **ORANGECRAB),
    Board(name="orangecrab-85f", title="OrangeCrab r0.2 85F", device="LFE5U-85F", preset="ulx3s",
          ram=1 << 17, platform="amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_85FPlatform",
          **ORANGECRAB),
    Board(name="colorlight-i5", title="Colorlight i5 v7.0 with extension board",
          device="LFE5U-25F", loader="colorlight-i5", platform="fpga.colorlight:ColorlightI5",
          **COLORLIGHT),
    Board(name="colorlight-i9", title="Colorlight i9 v7.2 with extension board",
          device="LFE5U-45F", loader="colorlight-i9", platform="fpga.colorlight:ColorlightI9",
          **COLORLIGHT),
    Board(name="icebreaker", title="iCEBreaker", family="ice40", device="iCE40UP5K",
          package="SG48", speed="", clock_hz=12_000_000, core_hz=12_000_000, ram=1 << 12,
          preset="nano", loader="ice40_generic", usb=(FT2232H,),
          platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
          note="Its FPGA is too small for a machine: only --check, for cable and link."),
    Board(name="ecpix5", title="ECPIX-5 85F", family="ecp5", device="LFE5UM5G-85F",
          package="CABGA554", speed="8", clock_hz=100_000_000, core_hz=50_000_000, ram=1 << 17,
          preset="ulx3s", loader="ecpix5", usb=(FT2232H,),
          platform="amaranth_boards.ecpix5:ECPIX585Platform", note=DDR3),
    Board(name="arty-a7-35", title="Arty A7-35T", family="xilinx7", device="xc7a35ti",
          package="csg324", speed="1L", clock_hz=100_000_000, core_hz=50_000_000, ram=1 << 16,
          preset="nano", loader="arty_a7_35t", usb=(FT2232H,),
          platform="amaranth_boards.arty_a7:ArtyA7_35Platform",
          note=f"{DDR3} Only a project for Vivado is written."),
)}

#: The board that is taken if none is named.
DEFAULT = "ulx3s"


def board(name):
    """The board of this name; one sentence with the names if there is none."""
    if name in BOARDS:
        return BOARDS[name]
    near = difflib.get_close_matches(name.lower(), BOARDS, 1, 0.5)
    guess = f"; did you mean {near[0]}?" if near else "."
    raise UserError(f"there is no board {name!r}{guess} Boards are: {', '.join(BOARDS)}")
