"""A whole bitstream's top, with its PLL and pads, between a cable and an SDRAM with real times."""

import struct
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fpga.board_top import prepare
from fpga.boards import board
from fpga.link.protocol import CHECK_HASH, Identity, Kind, Status
from fpga.memory.sdram_chip import CHIPS
from sw.toolenv import tool_environment
from verif.reference.link import parse, request


BAUD = 12_500_000

#: Byte addresses in several banks and rows, all in the model's 16 rows.
PLACES = (0, 2048 + 64, 3 << 13 | 1020)


def talk(folder, frames, core_hz):
    """Replies to frames on the line of a ULX3S with the check design."""
    one = replace(board("ulx3s"), baud=BAUD, core_hz=core_hz)
    plan = prepare(one, debug_verilog=True)
    for name in ("top.debug.v", "system.v"):
        content = plan.files[name]
        (folder / name).write_text(content if isinstance(content, str) else content.decode())
    (folder / "sent.hex").write_text("\n".join(f"{byte:02x}" for byte in b"".join(frames)))
    bench = Path(__file__).parent / "board_bench.v"
    options = dict(cwd=folder, env=tool_environment(), stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT, text=True, check=True)
    subprocess.run(["iverilog", "-g2005", "-o", "bench", "-s", "board",
                    f"-Pboard.BYTES={sum(map(len, frames))}", bench, "top.debug.v", "system.v"],
                   **options)
    told = subprocess.run(["vvp", "-n", "bench"], **options).stdout.split("\n")
    problems = [line for line in told if "FAIL" in line]
    data = bytes(int(line, 16) for line in told if len(line) == 2)
    return problems, [parse(part) for part in data.split(b"\0")[:-1]]


def work(folder, core_hz):
    """Problems that the bench saw; identity; blocks that were written, and that were read."""
    rng = np.random.default_rng(1)
    blocks = [(place, rng.bytes(8)) for place in PLACES]
    asked = [(Kind.IDENTIFY, 0, 0, b""),
             *((Kind.WRITE_MEMORY, len(data), place, data) for place, data in blocks),
             *((Kind.READ_MEMORY, len(data), place, b"") for place, data in blocks)]
    frames = [request(kind, n, count, place, payload)
              for n, (kind, count, place, payload) in enumerate(asked)]
    problems, replies = talk(folder, frames, core_hz)
    if problems:
        return problems, None, blocks, []
    assert len(replies) == len(asked)
    for (head, _), (kind, *_) in zip(replies, asked):
        assert struct.unpack("<BBHBBBB", head)[3] == Status.OK, kind
    count = len(blocks)
    return [], Identity.unpack(replies[0][1]), [data for _, data in blocks], [
        payload for _, payload in replies[-count:]]


@pytest.fixture(autouse=True)
def ready_soon(monkeypatch):
    """The chip takes less time to start up."""
    monkeypatch.setitem(CHIPS, "ulx3s", replace(CHIPS["ulx3s"], power_up=5_000))


@pytest.mark.parametrize("mhz", [50, 80])
def test_the_check_design_uses_the_memory_through_its_pads(mhz, tmp_path):
    problems, identity, written, read = work(tmp_path, mhz * 10**6)
    assert not problems
    assert (identity.hash, identity.clock_hz, identity.baud, identity.pages) == (
        CHECK_HASH, mhz * 10**6, BAUD, 8192)
    assert read == written


@pytest.mark.parametrize("nanoseconds, told", [(1, "set up for"), (12, "a byte is")])
def test_a_chips_clock_at_the_wrong_time_is_noticed(nanoseconds, told, tmp_path, monkeypatch):
    monkeypatch.setattr("fpga.board_top.clock_delay",
                        lambda hz: (Fraction(nanoseconds, 10**9), 2))
    problems, *_ = work(tmp_path, 50_000_000)
    assert any(told in problem for problem in problems)
