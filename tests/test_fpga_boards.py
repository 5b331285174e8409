"""Boards: their table, clocks, constraints, and bitstreams."""

import hashlib
import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from amaranth import *
from amaranth.lib import io

from fpga.board_top import BoardTop, prepare
from fpga.boards import BOARDS, DEFAULT, board
from fpga.clock import BoardClock
from fpga.link.protocol import CHECK_HASH
from fpga.memory import sdram_pads
from fpga.memory.sdram_pads import clock_delay
from fpga.pll import ECP5, XILINX7, dividers, phase_steps
from hw.config import load
from sw.bitstream import Job, refuse
from sw.cli import main
from sw.errors import UserError
from sw.fpga_tools import Progress, expected_seconds, utilisation


FLOW = {"ecp5": "top.lpf", "ice40": "top.pcf", "xilinx7": "top.xdc"}


def tokamac(*arguments):
    """Run a command that must succeed."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    assert not end.value.code


def text(plan, name):
    content = plan.files[name]
    return content if isinstance(content, str) else content.decode()


# The table.

def test_the_table_says_what_the_pins_file_says():
    for one in BOARDS.values():
        platform = one.platform_class()
        assert (platform.device, getattr(platform, "speed", "")) == (one.device, one.speed)
        assert platform.default_clk_frequency == one.clock_hz
        assert one.memory_bytes & one.memory_bytes - 1 == 0 and one.memory_bytes >= 4096
        load(one.preset)
    assert DEFAULT in BOARDS


def test_the_page_has_the_table():
    page = (Path(__file__).parent.parent / "docs" / "boards.md").read_text()
    rows = {found[1]: found[0]
            for found in re.finditer(r"^\| `([\w-]+)` \|.*$", page, re.MULTILINE)}
    for one in BOARDS.values():
        row = rows[one.name]
        for fact in (one.device, f"{one.clock_hz // 10**6}, {one.core_hz // 10**6} MHz",
                     f"{one.baud:,}", "none fits" if one.family == "ice40" else f"`{one.preset}`",
                     "SDRAM" if one.chip else f"{one.ram >> 10} KB on the FPGA"):
            assert f"| {fact} |" in row or fact == "SDRAM" and fact in row, (fact, row)


@pytest.mark.parametrize("name, told", [
    ("ulx3", "there is no board 'ulx3'; did you mean ulx3s[?] Boards are: ulx3s, ulx3s-45f"),
    ("Colorlight-I5", "did you mean colorlight-i5[?]"),
    ("vax", r"there is no board 'vax'\. Boards are: "),
])
def test_a_board_that_is_not_there_gets_one_sentence(name, told):
    with pytest.raises(UserError, match=told):
        board(name)


# Clocks.

@pytest.mark.parametrize("clock", [12, 25, 30, 48, 100])
@pytest.mark.parametrize("core", [25, 40, 48, 50, 60, 80, 100])
def test_dividers_make_exactly_the_rate_within_the_limits(clock, core):
    for limits in (ECP5, XILINX7):
        try:
            pll = dividers(clock * 10**6, core * 10**6, limits)
        except UserError:
            assert limits is XILINX7 or (clock, core) == (25, 48)
            continue
        detector = Fraction(clock * 10**6, pll.input)
        assert limits.detector[0] <= detector <= limits.detector[1]
        assert pll.oscillator_hz == detector * pll.feedback == core * 10**6 * pll.output
        assert limits.oscillator[0] <= pll.oscillator_hz <= limits.oscillator[1]
        assert pll.feedback <= limits.feedback and pll.output <= limits.output


def test_a_rate_that_cannot_be_made_names_its_neighbours():
    with pytest.raises(UserError, match="48 MHz cannot be made from 25 MHz; what is nearest is "
                                        r"47\.9167 MHz and 48\.0769 MHz"):
        dividers(25_000_000, 48_000_000)
    with pytest.raises(UserError, match="900 MHz .* nearest is 800 MHz$"):
        dividers(25_000_000, 900_000_000)
    with pytest.raises(ValueError, match="iCEBreaker has no clock generator"):
        BoardClock(replace(board("icebreaker"), core_hz=24_000_000))


def test_a_phase_is_in_eighths_of_the_oscillator():
    pll = dividers(25_000_000, 50_000_000)      # 600 MHz
    assert phase_steps(pll, 0) == (0, 0)
    assert phase_steps(pll, Fraction(5, 10**9)) == (3, 0)
    assert phase_steps(pll, Fraction(625, 10**11)) == (3, 6)
    with pytest.raises(ValueError, match="20 ns is not within a cycle"):
        phase_steps(pll, Fraction(20, 10**9))


@pytest.mark.parametrize("mhz", [10, 25, 48, 50, 60, 66, 80, 96, 100])
def test_the_sdrams_clock_leaves_time_for_both_sides(mhz):
    cycle = Fraction(1000, mhz)
    delay, trip = clock_delay(mhz * 10**6)
    delay *= 10**9
    assert sdram_pads.SETUP + sdram_pads.SKEW <= delay
    assert delay <= cycle - sdram_pads.HOLD - sdram_pads.SKEW
    # A read goes out at 0, and its data are looked at as many cycles later.
    look = trip * cycle
    assert delay + cycle + sdram_pads.COMES + sdram_pads.SLOWEST <= look
    assert look <= delay + 2 * cycle + sdram_pads.GOES + sdram_pads.FASTEST
    assert (trip == 2) == (mhz <= 66)


def test_an_sdram_is_refused_a_clock_without_such_a_time():
    with pytest.raises(ValueError, match="at 300 MHz an SDRAM leaves no time"):
        clock_delay(300_000_000)


# Designs.

@pytest.mark.parametrize("name", BOARDS)
def test_each_board_elaborates_with_its_constraints(name):
    one = board(name)
    plan = prepare(one)
    constraints = text(plan, FLOW[one.family])
    places = {
        "ecp5": r'LOCATE COMP "([\w\[\]]+)" SITE "\w+"', "ice40": r"set_io ([\w\[\]]+) \w+",
        "xilinx7": r"set_property LOC \w+ \[get_ports \{?\"?([\w\[\]]+)",
    }[one.family]
    ports = re.findall(places, constraints)
    assert len(set(ports)) == len(ports)
    assert {"uart_0__rx__io", "uart_0__tx__io"} <= set(ports), ports
    assert sum(port.startswith(("led", "rgb_led")) for port in ports) == {
        "colorlight-i5": 1, "colorlight-i9": 1, "icebreaker": 2, "orangecrab-25f": 3,
        "orangecrab-85f": 3}.get(name, 4)
    assert sum(port.startswith("sdram") for port in ports) == {
        "ulx3s": 39, "colorlight": 49}.get(one.chip, 0)
    clock = {"ecp5": rf'FREQUENCY PORT "\w+" {one.clock_hz}\.0 HZ',
             "ice40": rf"set_frequency \w+ {one.clock_hz / 1e6}",
             "xilinx7": rf"create_clock .*-period {1e9 / one.clock_hz}"}[one.family]
    assert re.search(clock, constraints)
    assert "module system(" in text(plan, "system.v")


def test_a_machine_stands_where_the_check_design_does():
    one = board("ulx3s")
    config = load("nano")
    top = BoardTop(one, config)
    assert (top.system.identity.hash, top.system.identity.pages) == (config.hash, 8192)
    assert BoardTop(one).system.identity.hash == CHECK_HASH
    assert BoardTop(one).system.memory.trip == 2
    plan = prepare(one, config)
    assert "module tokamac" in text(plan, "system.v") or "machine" in text(plan, "system.v")
    for name in ("running", "fault", "dqm", "dq_i"):
        assert re.search(rf"connect \\{name} ", text(plan, "top.il")), name


@pytest.mark.parametrize("name, config, told", [
    ("icebreaker", "nano", "iCEBreaker is too small for a machine; --check builds"),
    ("arty-a7-35", "ulx3s", "ulx3s uses multiplier blocks of the ECP5, which Arty A7-35T does not"),
])
def test_what_cannot_work_is_refused(name, config, told):
    refuse(board(name), None)
    with pytest.raises(UserError, match=told):
        refuse(board(name), load(config))


def test_a_project_for_vivado_is_written(tmp_path, capsys):
    tokamac("bitstream", "--board", "arty-a7-35", "--check", "--output", tmp_path)
    told = capsys.readouterr().out
    assert "Only a project for Vivado is written" in told
    assert f"Go on with Vivado: cd {tmp_path}/work && sh build_top.sh" in told
    assert {"system.v", "top.v", "top.tcl", "top.xdc"} <= {
        path.name for path in (tmp_path / "work").iterdir()}
    assert "PLLE2_BASE" in (tmp_path / "work" / "top.v").read_text()
    assert json.loads((tmp_path / "bitstream.json").read_text())["device"] == "xc7a35ti"


# Bitstreams.

class Blink(Elaboratable):
    """A counter at a lamp."""

    def __init__(self, board):
        self.board = board

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock = clock = BoardClock(self.board)
        m.domains += clock.domains
        m.submodules.lamp = lamp = io.Buffer("o", platform.request("rgb_led", dir="-").r)
        count = Signal(24)
        m.d.sync += count.eq(count + 1)
        m.d.comb += lamp.o.eq(count[-1])
        return m


class BlinkJob(Job):
    """The smallest bitstream, perhaps with more constraints."""

    preferences = ""

    def plan(self, **overrides):
        return self.board.platform_class().prepare(
            Blink(self.board), "top", emit_src=False, add_preferences=self.preferences, **overrides)


def blink(folder, core_hz=48_000_000, **options):
    return BlinkJob(replace(board("orangecrab-25f"), core_hz=core_hz), None, folder,
                    say=lambda line: None, **options)


def test_the_same_bitstream_comes_out_at_each_time(tmp_path):
    one, two, other = (blink(tmp_path / name, seed=seed).run()
                       for name, seed in (("one", 1), ("two", 1), ("other", 2)))
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert str(tmp_path).encode() not in one.read_bytes()


def test_a_clock_that_is_too_fast_fails_unless_it_is_allowed(tmp_path):
    with pytest.raises(UserError, match="timing is not met: 400 MHz are wanted, .* were reached"):
        blink(tmp_path, core_hz=400_000_000).run()
    assert not list(tmp_path.glob("*.bit")) and not (tmp_path / "bitstream.json").exists()
    path = blink(tmp_path, core_hz=400_000_000, allow_slow=True).run()
    facts = json.loads((tmp_path / "bitstream.json").read_text())
    assert path.exists() and not facts["met"] and facts["fmax_mhz"] < 400 == facts["clock_mhz"]


def test_a_tool_that_fails_shows_why_and_where(tmp_path):
    job = blink(tmp_path)
    job.preferences = 'LOCATE COMP "rgb_led_0__r__io" SITE "Z9";'
    with pytest.raises(UserError, match=r"place_and_route failed; its log is .*"
                                        r"work/place_and_route\.log and says: ERROR: .*Z9"):
        job.run()


def test_the_check_design_becomes_a_bitstream(tmp_path, capsys, monkeypatch):
    # Less memory takes less time.
    monkeypatch.setitem(BOARDS, "orangecrab-25f", replace(board("orangecrab-25f"), ram=4096))
    tokamac("bitstream", "--board", "orangecrab-25f", "--check", "--seed", 3, "--baud", 500000,
            "--output", tmp_path)
    told = capsys.readouterr().out
    for step in ("[1/5] Verilog", "[2/5] synthesis", "[3/5] place and route with", "[4/5] timing",
                 "[5/5] bitstream"):
        assert step in told
    facts = json.loads((tmp_path / "bitstream.json").read_text())
    data = (tmp_path / facts["bitstream"]).read_bytes()
    assert facts["sha256"] == hashlib.sha256(data).hexdigest() and facts["bytes"] == len(data)
    assert b"LFE5U-25F" in data[:200]
    assert (facts["board"], facts["seed"], facts["design"], facts["config"], facts["baud"]) == (
        "orangecrab-25f", 3, "check", None, 500_000)
    assert facts["hash"] == f"{CHECK_HASH:#010x}" and facts["met"]
    assert facts["fmax_mhz"] >= facts["clock_mhz"] == 48
    assert facts["utilisation"]["block RAM"]["used"] >= 4
    assert facts["tools"].keys() == {"amaranth", "yosys", "place_and_route", "pack"}


def test_a_check_design_takes_no_configuration(capsys):
    with pytest.raises(SystemExit):
        main(["bitstream", "--check", "--config", "nano"])
    assert "--check builds a design without a machine" in capsys.readouterr().err


# What nextpnr says.

def test_progress_is_read_from_the_log():
    said = []
    progress = Progress(said.append)
    for line in ("Info: Packing LUTs...",
                 "Info:     at iteration #3, type ALL: wirelen solved = 3",
                 "Info:   at iteration #5: temp = 0.000000, timing cost = 561",
                 "Info: Routing 12032 arcs.",
                 "Info:       1000 |       28        971 |   28   971 |     11074|       1.56",
                 "Info: nothing"):
        progress(line)
    assert said == ["packing LUTs", "placing, round 3", "refining the placement, round 5",
                    "routing 12032 wires", "routing, 11074 wires left"]


def test_what_is_scarce_is_counted():
    report = {"utilization": {"TRELLIS_COMB": {"used": 5, "available": 9},
                              "DCCA": {"used": 1, "available": 2}}}
    assert utilisation(report) == {"LUT": (5, 9)}
    assert expected_seconds(66_000, native=False) > 900 > expected_seconds(66_000, native=True)
