"""FPGAs of boards: what they have, and how they tell who they are."""

from dataclasses import dataclass


__all__ = ["Device", "DEVICES", "device", "by_idcode"]


@dataclass(frozen=True, kw_only=True)
class Device:
    """What an FPGA has, as its data sheet says.

    Parameters
    ----------
    name : str
        As its maker writes it.
    lut, ff, dsp, ram : int
        Lookup tables, flip-flops, multipliers, and block RAMs.
    ram_bits : int
        Bits of a block RAM.
    big : tuple of (int, int)
        Other memory on the FPGA: how many, of how many bits.
    inputs : int
        Of a lookup table.
    idcode : int
        With which its JTAG port answers, and which is in its bitstreams; 0: not looked at.
    sheet : str
        Its data sheet.
    """

    name: str
    lut: int
    ff: int
    dsp: int
    ram: int
    ram_bits: int
    big: tuple = (0, 0)
    inputs: int = 4
    idcode: int = 0
    sheet: str

    @property
    def memory_bits(self):
        """Bits of all memory but flip-flops and lookup tables."""
        return self.ram * self.ram_bits + self.big[0] * self.big[1]

    @property
    def cells(self):
        """Kind of cell -> how many there are; the kinds of :mod:`sw.area`."""
        return {"LUT": self.lut, "FF": self.ff, "DSP": self.dsp, "RAM": self.ram}


def ecp5(name, lut, dsp, ram, idcode):
    return Device(name=name, lut=lut, ff=lut, dsp=dsp, ram=ram, ram_bits=18 << 10, idcode=idcode,
                  sheet="FPGA-DS-02012, table 1.1")


def artix(name, lut, dsp, ram):
    return Device(name=name, lut=lut, ff=2 * lut, dsp=dsp, ram=ram, ram_bits=18 << 10, inputs=6,
                  sheet="DS180, table 4")


#: By name. The data sheet of the ECP5 counts its lookup tables in thousands, Project Trellis
#: exactly. The 12F is the 25F's die, all of which the open tools use.
DEVICES = {one.name: one for one in (
    ecp5("LFE5U-12F", 24_288, 28, 56, 0x21111043),
    ecp5("LFE5U-25F", 24_288, 28, 56, 0x41111043),
    ecp5("LFE5U-45F", 43_848, 72, 108, 0x41112043),
    ecp5("LFE5U-85F", 83_640, 156, 208, 0x41113043),
    ecp5("LFE5UM5G-85F", 83_640, 156, 208, 0x81113043),
    Device(name="iCE40UP5K", lut=5_280, ff=5_280, dsp=8, ram=30, ram_bits=4 << 10,
           big=(4, 256 << 10), sheet="FPGA-DS-02008, table 1.1"),
    artix("XC7A35T", 20_800, 90, 100),
    artix("XC7A100T", 63_400, 240, 270),
)}


def device(board):
    """The FPGA of a :class:`fpga.boards.Board`."""
    wanted = board.device.lower()
    return next(one for name, one in DEVICES.items() if wanted.startswith(name.lower()))


def by_idcode(idcode):
    """Name of the FPGA with an IDCODE."""
    names = [one.name for one in DEVICES.values() if one.idcode == idcode != 0]
    return names[0] if names else f"an unknown FPGA (IDCODE {idcode:#010x})"
