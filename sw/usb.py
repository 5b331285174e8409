"""Cables of boards that this machine sees, from Linux's list of USB devices."""

import os
from dataclasses import dataclass
from pathlib import Path


__all__ = ["Cable", "cables", "rule"]

#: Where Linux lists the devices.
ROOT = Path("/sys/bus/usb/devices")

#: Where their files are, by number of bus and device.
NODES = Path("/dev/bus/usb")


@dataclass(frozen=True)
class Cable:
    """A USB device: vendor and product, and its file."""

    usb: tuple
    node: Path

    @property
    def writable(self):
        """Whether this user may use it; what has no file here is not known to be forbidden."""
        return not self.node.exists() or os.access(self.node, os.R_OK | os.W_OK)

    @staticmethod
    def name(usb):
        """Vendor and product as lsusb prints them."""
        return f"{usb[0]:04x}:{usb[1]:04x}"


def cables(board):
    """The cables of a :class:`fpga.boards.Board` that are plugged in."""
    found = []
    for folder in sorted(ROOT.glob("*")):
        try:
            usb = tuple(int((folder / name).read_text(), 16) for name in ("idVendor", "idProduct"))
            bus, number = (int((folder / name).read_text()) for name in ("busnum", "devnum"))
        except (OSError, ValueError):
            continue            # an interface, or it has just gone
        if usb in board.usb:
            found.append(Cable(usb, NODES / f"{bus:03}" / f"{number:03}"))
    return found


def rule(name, usb):
    """Commands that let whoever is logged in use a USB device and its serial port."""
    line = (f'SUBSYSTEMS=="usb", ATTRS{{idVendor}}=="{usb[0]:04x}", '
            f'ATTRS{{idProduct}}=="{usb[1]:04x}", TAG+="uaccess"')
    return (f"    echo '{line}' | sudo tee /etc/udev/rules.d/70-{name}.rules\n"
            "    sudo udevadm control --reload && sudo udevadm trigger")
