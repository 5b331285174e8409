"""Pins of Colorlight's cards i5 (v7.0) and i9 (v7.2) on their extension board.

The cards are receivers of LED walls; makers have traced and published their pins
(https://github.com/wuxx/Colorlight-FPGA-Projects). Of the SDRAM, CKE is high, and CS# and the masks
of bytes are low: they have no pin.
"""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import LEDResources, SDRAMResource, UARTResource


__all__ = ["ColorlightI5", "ColorlightI9"]


LEVELS = {"IO_TYPE": "LVCMOS33"}


def resources(led):
    """What both cards have; their LED has another pin."""
    return [
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), Attrs(**LEVELS)),
        *LEDResources(pins=led, invert=True, attrs=Attrs(**LEVELS)),
        # At the extension board's USB adapter.
        UARTResource(0, rx="H18", tx="J17", attrs=Attrs(**LEVELS)),
        SDRAMResource(
            0, clk="B9", we_n="A10", cas_n="A9", ras_n="B10", ba="B11 C8",
            a="B13 C14 A16 A17 B16 B15 A14 A13 A12 A11 B12",
            dq="B6 A5 A6 A7 C7 B8 B5 A8 D8 D7 E8 D6 C6 D5 E7 C5 "
               "C10 D9 E11 D11 C11 D12 E9 C12 E14 C15 E13 D15 E12 B17 D14 D13",
            attrs=Attrs(SLEWRATE="FAST", **LEVELS)),
    ]


class Colorlight(LatticeECP5Platform):
    """What both cards have."""

    package     = "BG381"
    speed       = "6"
    default_clk = "clk25"
    connectors  = []


class ColorlightI5(Colorlight):
    device    = "LFE5U-25F"
    resources = resources("U16")


class ColorlightI9(Colorlight):
    device    = "LFE5U-45F"
    resources = resources("L2")
