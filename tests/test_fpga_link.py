"""The host link apart from its hardware: bit times, frames, what the page shows of them."""

import re
from pathlib import Path

import numpy as np
import pytest

from fpga.blocks import BLOCKS
from fpga.link.bit_timer import FRACTION, bit_period
from fpga.link.protocol import Identity, Kind, Status
from hw.config import load
from hw.verilog import convert
from verif.reference.link import cobs, frame, parse, reply, request, uncobs


PAGE = Path(__file__).parent.parent / "docs" / "boards.md"

#: What the page says in words, in its order.
EXAMPLES = (
    request(Kind.IDENTIFY, 1),
    request(Kind.WRITE_MEMORY, 2, 4, 0x1000, b"\x11\x00\x33\x44"),
    reply(Kind.WRITE_MEMORY, 2, Status.OK, 3, 0),
    request(Kind.READ_REGISTERS, 3, 4, 0),
    reply(Kind.READ_REGISTERS, 3, Status.OK, 4, 0, b"TKMC"),
)
IDENTITY = Identity(hash=0xDEADBEEF, block=1024, window=2, word=4, pages=8192,
                    clock_hz=50_000_000, baud=3_000_000)


@pytest.mark.parametrize("clock_hz", [12_000_000, 25_000_000, 48_000_000, 80_000_000])
@pytest.mark.parametrize("baud", [115_200, 921_600, 1_000_000, 3_000_000])
def test_bit_periods_are_exact_enough(clock_hz, baud):
    period = bit_period(clock_hz, baud)
    assert abs(period / FRACTION * baud / clock_hz - 1) < 0.0005


@pytest.mark.parametrize("clock_hz, baud, sentence", [
    (12_000_000, 4_000_000, "a clock of 12000000 Hz allows up to 3000000 baud, not 4000000"),
    (0, 9600, "clock_hz must be a positive integer, not 0"),
    (1000, 9.5, "baud must be a positive integer, not 9.5"),
])
def test_impossible_rates_are_refused(clock_hz, baud, sentence):
    with pytest.raises(ValueError, match=sentence):
        bit_period(clock_hz, baud)


def test_the_page_shows_the_bytes_of_frames():
    shown = re.findall(r"`((?:[0-9a-f]{2} )+00)`", PAGE.read_text())
    assert shown == [example.hex(" ") for example in EXAMPLES]


@pytest.mark.parametrize("kinds", [Kind, Status], ids=lambda kinds: kinds.__name__)
def test_the_page_names_all_kinds_and_statuses(kinds):
    text = PAGE.read_text()
    for kind in kinds:
        assert re.search(rf"^\| {kind.value} \| `{kind.name}` \|", text, re.MULTILINE)


def test_stuffing_is_that_of_the_paper():
    """The examples of Cheshire and Baker's encoding."""
    for plain, stuffed in (
            (b"", b"\1"), (b"\0", b"\1\1"), (b"\0\0", b"\1\1\1"),
            (b"\x11\x22\0\x33", b"\3\x11\x22\2\x33"), (b"\1\0\0\0", b"\2\1\1\1\1"),
            (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255))),
            (bytes(range(256)), b"\1\xff" + bytes(range(1, 255)) + b"\2\xff")):
        assert cobs(plain) == stuffed
        assert uncobs(stuffed) == plain


def test_frames_come_back_and_no_changed_one_does():
    rng = np.random.default_rng(1)
    for size in (0, 1, 200, 254, 255, 600):
        content = rng.bytes(8) + bytes(byte * (byte < 200) for byte in rng.bytes(size))
        line = frame(content)
        assert line.count(0) == 1 and line[-1] == 0
        assert parse(line[:-1]) == (content[:8], content[8:])
        for _ in range(200):
            place = int(rng.integers(0, len(line) - 1))
            wrong = bytearray(line[:-1])
            wrong[place] ^= int(rng.integers(1, 256))
            assert parse(bytes(wrong)) is None
            assert parse(line[:place]) is None


def test_identity_is_packed_and_read():
    payload = IDENTITY.pack()
    assert Identity.unpack(payload) == IDENTITY
    assert Identity.unpack(payload[:-1]) == "its identity has 35 bytes, not 36"
    assert "begins with 0x00000000" in Identity.unpack(bytes(36))
    old = payload[:4] + b"\7" + payload[5:]
    assert Identity.unpack(old) == "it speaks version 7 of the link, this program 1"


@pytest.mark.parametrize("name", BLOCKS)
def test_the_parts_around_the_machine_can_be_measured(name):
    assert f"\nmodule {name}(" in convert(BLOCKS[name](load("ulx3s")), name)
    assert f"| `{name}` |" in PAGE.read_text()
