"""The check design, and the command that tests a board with it."""

import pytest

from fpga.check import CHECK_CONFIG
from fpga.link.protocol import CHECK_HASH
from hw.config import load
from hw.register_map import IDENTITY
from sim.soc import SimulatedBoard
from sw.board_check import BoardCheck
from sw.cli import main
from sw.errors import UserError
from sw.runtime.host_link import HostLink, Request
from sw.runtime.serial_device import SerialDevice, open_port
from tests.serial_board import Board, Kind, Status


@pytest.fixture(scope="module")
def simulated():
    with SimulatedBoard(None) as board:
        yield board


def test_the_command_finds_the_simulated_memory_right(simulated, capsys):
    with pytest.raises(SystemExit) as end:
        main(["check-board", "--device", f"serial:{simulated.port}", "--bytes", "3000"])
    told = capsys.readouterr()
    assert not end.value.code, told.err
    assert "found     check design, 0.02 MHz, 33,554,432 bytes of memory in words of 4" in told.out
    assert "pins      88 words, 0 wrong" in told.out
    assert "memory    512 words, 0 wrong" in told.out
    assert "0 requests were sent again\nall is well" in told.out


def test_its_registers_are_the_identity_and_stay_so(simulated):
    port = open_port(simulated.port)
    try:
        link = HostLink(port)
        assert link.identity.hash == CHECK_HASH
        answer = link.ask(Request(Kind.READ_REGISTERS, 8, 0))
        assert answer.payload == 2 * IDENTITY.to_bytes(4, "little")
        answer = link.ask(Request(Kind.WRITE_REGISTER, 4, 0, bytes(4)))
        assert answer.status == Status.REFUSED
    finally:
        port.close()


def test_a_machines_host_says_that_there_is_none(simulated):
    port = open_port(simulated.port)
    try:
        with pytest.raises(UserError, match="the design of `tokamac bitstream --check`"):
            SerialDevice(load("nano"), port)
    finally:
        port.close()


class Memory:
    """A memory some of whose pins may be broken, as the device of a :class:`Board`."""

    config = CHECK_CONFIG

    def __init__(self, stuck=0, lost=0, size=1 << 16):
        self.stuck, self.lost, self.memory = stuck, lost, bytearray(size)

    def read_register(self, name):
        return 0

    def _words(self, address, count):
        for place in range(address, address + count, 4):
            yield place & ~self.lost

    def read(self, address, count):
        return b"".join((int.from_bytes(self.memory[place:place + 4], "little")
                         & ~self.stuck).to_bytes(4, "little")
                        for place in self._words(address, count))

    def write(self, address, data):
        for n, place in enumerate(self._words(address, len(data))):
            self.memory[place:place + 4] = data[4 * n:4 * n + 4]


@pytest.mark.parametrize("stuck, lost, bits", [(0, 0, []), (1 << 13, 0, [13]),
                                               (1 << 31 | 1, 0, [0, 31])])
def test_data_pins_that_are_stuck_are_named(stuck, lost, bits):
    check = BoardCheck(HostLink(Board(Memory(stuck, lost))))
    wires, found = check.wires(), check.traffic(20_000)
    assert wires.bits() == found.bits() == bits
    assert (len(found.wrong) > 0) == bool(bits) and found.words == 19_968 // 4


@pytest.mark.parametrize("lost", [1 << 2, 1 << 9, 1 << 15])
def test_an_address_pin_that_is_lost_is_found(lost):
    check = BoardCheck(HostLink(Board(Memory(0, lost))))
    addresses = {address for address, _, _ in check.wires().wrong}
    assert addresses and addresses <= {0, lost}
    assert check.traffic().wrong


def test_a_line_that_loses_bytes_is_no_error_of_the_memory():
    check = BoardCheck(HostLink(Board(Memory(), loss=0.0002)))
    assert not check.wires().wrong and not check.traffic(20_000).wrong
    assert check.link.repeated > 0


def test_the_command_says_which_bits_are_wrong(monkeypatch, capsys):
    monkeypatch.setattr("sw.runtime.serial_device.open_port", lambda name: Board(Memory(1 << 5)))
    with pytest.raises(SystemExit) as end:
        main(["check-board", "--device", "serial:x", "--bytes", "4000"])
    told = capsys.readouterr()
    assert end.value.code == 1
    assert "words are wrong, in the bits 5; a slower clock" in told.err
    assert told.out.count("  at 0x") == 5


def test_what_is_no_port_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["check-board", "--device", "sim"])
    assert "a board is serial:PORT, such as serial:/dev/ttyUSB0, not 'sim'" in (
        capsys.readouterr().err)
