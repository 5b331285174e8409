"""A board's device over a line that loses and changes bytes, before the emulator."""

import errno
import os
import sys
from time import sleep

import numpy as np
import pytest
import serial

from fpga.link.protocol import Kind
from hw import register_map as rm
from hw.config import load
from sw.cli import main
from sw.compile.compiler import compile_model
from sw.errors import UserError
from sw.runtime import host_link, serial_device
from sw.runtime.device import Device
from sw.runtime.emulator import Emulator
from sw.runtime.serial_device import SerialDevice, open_port
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.models import random_model, save, save_tokenizer
from tests.serial_board import Board


CONFIG = load("nano")
MEMORY = 1 << 16


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(host_link, "PATIENCE", 0.01)


def board(**options):
    return Board(Emulator(CONFIG, memory_bytes=MEMORY), **options)


@pytest.mark.parametrize("loss", [0, 0.0003, 0.001])
def test_memory_is_written_and_read_at_any_byte(loss):
    port, rng = board(loss=loss), np.random.default_rng(1)
    device = SerialDevice(CONFIG, port, memory_bytes=MEMORY)
    wanted = port.device.memory.copy()
    for n in range(40):
        count = int(rng.integers(0, 3000 if n % 2 else 6))
        address = int(rng.integers(0, MEMORY - count))
        data = rng.bytes(count)
        device.write(address, data)
        wanted[address:address + count] = np.frombuffer(data, np.uint8)
        assert (port.device.memory == wanted).all()
        at, size = int(rng.integers(0, MEMORY - 2000)), int(rng.integers(0, 2000))
        assert device.read(at, size) == wanted[at:at + size].tobytes()
    assert (device.link.repeated > 0) == (loss > 0)


@pytest.mark.parametrize("loss", [0, 0.001])
def test_a_model_writes_the_same_text(loss):
    """Whatever the line does: each value that is emitted comes once, each instruction goes once."""
    model = random_model()
    compiled = compile_model(model, CONFIG, [[1, 5, 9]], 6, check=True)
    reference = Session(Emulator(CONFIG, memory_bytes=compiled.memory.bytes), compiled)
    wanted = list(reference.tokens())

    port = Board(Emulator(CONFIG, memory_bytes=compiled.memory.bytes), loss=loss)
    device = SerialDevice(CONFIG, port, memory_bytes=compiled.memory.bytes)
    session = Session(device, compiled)
    verifier = Verifier(device, compiled)
    assert list(session.tokens()) == wanted
    assert port.device.words == compiled.words
    assert "bit for bit" in verifier.verify(session.outcome)
    assert session.outcome.counters == reference.outcome.counters
    assert (device.link.repeated > 0) == (loss > 0)


def test_it_has_the_calls_of_a_device():
    calls = {name for name in vars(Device) if not name.startswith("_")}
    assert calls <= set(dir(SerialDevice))


@pytest.mark.parametrize("window", [2, 4])
def test_requests_are_under_way_while_others_are_answered(window):
    """As many as the board says, but only those that may be carried out twice."""
    port = board(window=window)
    device, most, under_way = SerialDevice(CONFIG, port), [0], []
    send, receive = device.link._send, device.link._receive

    def count_send(number, asked):
        under_way.append(asked.kind)
        most[0] = max(most[0], len(under_way))
        send(number, asked)

    def count_receive(*arguments):
        under_way.pop(0)
        return receive(*arguments)

    device.link._send, device.link._receive = count_send, count_receive
    device.write(0, bytes(4096))
    assert most == [window]
    most[0] = 0
    device.program([0] * 100)
    assert most == [1]


def test_a_run_that_was_left_behind_is_ended():
    port = board()
    port.device.status = rm.RUNNING
    SerialDevice(CONFIG, port)
    assert port.device.status & rm.DONE and port.device.fault == rm.Cause.ABORTED


@pytest.mark.parametrize("wrong, sentence", [
    (dict(hash=5), "the board has another configuration than nano: its hash is 0x00000005"),
    (dict(pages=1), "the model needs 65536 bytes of memory; the board has 4096"),
])
def test_another_board_is_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        SerialDevice(CONFIG, board(**wrong), memory_bytes=MEMORY)


def test_a_silent_line_ends_with_a_sentence(monkeypatch):
    port = board()
    device = SerialDevice(CONFIG, port)
    port.silent = True
    for use in (lambda: device.read_register("status"), lambda: device.read(0, 2000)):
        with pytest.raises(UserError, match="the board does not answer; is it the right serial"):
            use()


def test_a_board_that_was_reset_is_noticed():
    port = board()
    device = SerialDevice(CONFIG, port)
    port.following = port.last = None
    with pytest.raises(UserError, match="it was reset, or another program uses it"):
        device.read_register("status")
    # Memory may be written again.
    device.write(0, b"abcd" * 100)
    assert device.read(0, 400) == b"abcd" * 100
    assert port.requests.count(Kind.IDENTIFY) == 2


def test_refused_accesses_are_told():
    port = board()
    device = SerialDevice(CONFIG, port)
    with pytest.raises(UserError, match="the machine refused to write register status"):
        device.write_register("status", 1)
    with pytest.raises(UserError, match="the board's memory has 65536 bytes; 8 bytes at 65530"):
        device.write(65530, bytes(8))
    port.device.memory = port.device.memory[:4096]
    with pytest.raises(UserError, match="answered REFUSED to READ_MEMORY of 256 bytes at 0x2000"):
        device.read(8192, 1000)
    with pytest.raises(UserError, match="the program has 2000 instructions"):
        device.program([0] * 2000)


def test_a_memory_that_hangs_is_told():
    port = board()
    device = SerialDevice(CONFIG, port)
    port.hangs = True
    for use in (lambda: device.read(64, 4), lambda: device.write(64, bytes(4))):
        with pytest.raises(UserError, match="the board's memory does not answer at 0x40; does it"):
            use()
    assert device.read_register("identity") == rm.IDENTITY


@pytest.mark.parametrize("name, sentence", [
    ("/dev/nothing", "the serial port /dev/nothing cannot be opened: it does not exist; is the"),
    ("/dev", "the serial port /dev cannot be opened: "),
    ("/dev/nothing@fast", "rate of a serial port must be a positive number, not 'fast'"),
])
def test_ports_that_do_not_exist(name, sentence):
    with pytest.raises(UserError, match=sentence):
        open_port(name)


@pytest.mark.parametrize("code, sentence", [
    (errno.EACCES, "may not use it; join the group that owns it, often dialout, .* udev rule"),
    (errno.EAGAIN, "/dev/board cannot be opened: another program uses it"),
])
def test_ports_that_may_not_be_used(code, sentence, monkeypatch):
    def refuse(*_, **__):
        raise serial.SerialException(code, "told by the system")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(UserError, match=sentence):
        open_port("/dev/board")


def test_two_programs_cannot_use_a_port():
    """Not even this one twice."""
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    with open_port(name), pytest.raises(UserError, match="another program uses it"):
        open_port(name)
    open_port(name).close()
    os.close(ours), os.close(theirs)


def test_without_pyserial_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(UserError, match=r"boards need the package pyserial: pip install -e '\.\[f"):
        open_port("/dev/board")


@pytest.mark.parametrize("name", ["read", "write"])
def test_a_cable_that_is_unplugged_ends_with_a_sentence(name, monkeypatch):
    port = board()
    device = SerialDevice(CONFIG, port)

    def fail(_):
        raise serial.SerialException("device disconnected")

    monkeypatch.setattr(port, name, fail)
    for use in (lambda: device.read_register("status"), lambda: device.read(0, 2000)):
        with pytest.raises(UserError, match="the serial port is gone; was the cable unplugged?"):
            use()


def test_the_line_is_waited_for_without_a_busy_loop():
    port = board(loss=1.0)
    times = []
    read = port.read
    port.read = lambda count: (times.append(port.timeout), sleep(port.timeout), read(count))[2]
    with pytest.raises(UserError, match="does not answer"):
        host_link.HostLink(port, seconds=0.02)
    assert len(times) <= 2 * host_link.ATTEMPTS


def test_the_command_line_opens_a_board(monkeypatch, tmp_path, capsys):
    model = random_model(shared=False)
    save(model, tmp_path / "model.bin")
    save_tokenizer(tmp_path / "tokenizer.bin", 300, [" ", "a", "b", "ab"])
    opened = []

    def open_board(name):
        opened.append(name)
        return Board(Emulator(CONFIG, memory_bytes=1 << 20))

    monkeypatch.setattr(serial_device, "open_port", open_board)

    def run(*more):
        with pytest.raises(SystemExit) as end:
            main(["run", str(tmp_path / "model.bin"), "--config", "nano", "--tokens", "2",
                  "--device", "serial:/dev/board@3000000", *more])
        return end.value.code, capsys.readouterr()

    code, told = run("--check")
    assert not code and opened == ["/dev/board@3000000"] and "bit for bit" in told.out
    code, told = run("--waves", "run.fst")
    assert code == 1 and "error: a board's signals cannot be recorded" in told.err
