"""What fits an FPGA, by the configuration, by sizes that are kept, and by synthesis."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import sw.fit
from fpga.boards import BOARDS, board
from fpga.devices import DEVICES, device
from hw.config import load, presets
from sw.bitstream import refuse as refuse_bitstream
from sw.cli import main
from sw.errors import UserError
from sw.fit import (
    MEASURED,
    estimate,
    fitting,
    kept,
    key,
    lacking,
    least,
    measure,
    measured,
    refuse,
    refuse_cells,
    rows,
    table,
)


ROOT = Path(__file__).resolve().parent.parent


def test_sizes_are_kept_of_the_present_presets():
    """If this fails, `python -m sw.sizes` measures them again."""
    assert {name: entry["key"] for name, entry in kept().items()} == {
        name: key(load(name)) for name in MEASURED}


def test_all_presets_that_an_fpga_may_hold_are_measured():
    possible = [name for name in presets()
                if not all(lacking(least(load(name)), fpga) for fpga in DEVICES.values())]
    assert set(possible) == set(MEASURED)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["small"])
def test_sizes_that_are_kept_are_those_of_the_present_hardware(name, tmp_path):
    """If this fails, `python -m sw.sizes` measures them again."""
    cells = measure(load(name), tmp_path, jobs=2)
    assert cells == pytest.approx({kind: kept()[name][kind] for kind in cells}, rel=0.03)


def test_a_configuration_that_has_changed_is_not_taken_for_the_one_that_was_measured():
    small = load("small")
    assert measured(small)
    assert measured(replace(small, columns=2)) is None
    assert measured(replace(small, technology="generic")) is None


def test_every_board_has_a_known_fpga():
    assert {one.name: device(one).name for one in BOARDS.values()} == {
        "ulx3s": "LFE5U-85F", "ulx3s-45f": "LFE5U-45F", "ulx3s-25f": "LFE5U-25F",
        "orangecrab-25f": "LFE5U-25F", "orangecrab-85f": "LFE5U-85F",
        "colorlight-i5": "LFE5U-25F", "colorlight-i9": "LFE5U-45F", "icebreaker": "iCE40UP5K",
        "ecpix5": "LFE5UM5G-85F", "arty-a7-35": "XC7A35T"}


def test_the_default_of_a_board_fits_if_anything_does():
    for one in BOARDS.values():
        assert one.preset in fitting(one) or not fitting(one), one.name


@pytest.mark.parametrize("name, config, sentence", [
    ("ulx3s-25f", "ulx3s", r"ulx3s takes about [\d,]+ of 24,288 lookup tables, [\d,]+ of 24,288 "
                           r"flip-flops, \d+ of 28 multipliers and \d+ of 56 block RAMs of the "
                           r"LFE5U-25F of ULX3S 25F; no preset fits\. What makes ulx3s smaller: "
                           r"fewer or less of columns, lanes, outstanding, workspace, w_fifo, r"),
    ("ulx3s-45f", "ulx3s", r"about [\d,]+ of 43,848 lookup tables.*; the presets that fit are sm"),
    ("ulx3s", "sim", r"sim takes at least 256 of 156 multipliers and 9,\d{3},\d{3} of 3,833,856 "
                     r"bits of memory of the LFE5U-85F of ULX3S 85F; the presets that fit are "
                     r"nano, small, ulx3s\. .*: fewer or less of columns, slices, lanes,"),
    ("arty-a7-35", "nano", r"about [\d,]+ of 20,800 lookup tables"),
])
def test_what_is_too_big_is_refused_before_it_is_built(name, config, sentence):
    with pytest.raises(UserError, match=sentence):
        refuse(board(name), load(config))
    if BOARDS[name].family == "ecp5":
        with pytest.raises(UserError, match=sentence):
            refuse_bitstream(board(name), load(config))


def test_what_is_not_known_is_built():
    changed = replace(load("ulx3s"), name="mine", columns=1)
    assert refuse(board("ulx3s-25f"), changed) == ""


def test_what_synthesis_counts_decides():
    config = load("small")
    cells = {"LUT": 41_000, "FF": 20_000, "DSP": 32, "RAM": 50}
    assert re.match(r"94 % of the lookup tables are taken: place and route may",
                    refuse_cells(board("ulx3s-45f"), config, cells))
    assert refuse_cells(board("ulx3s"), config, cells) == ""
    with pytest.raises(UserError, match="^small takes 43,849 of 43,848 lookup tables of the"):
        refuse_cells(board("ulx3s-45f"), config, {**cells, "LUT": 43_849})


def test_memory_on_the_fpga_takes_block_rams():
    cells = kept()["small"]
    assert (estimate(cells, board("orangecrab-85f"))["RAM"]
            - estimate(cells, board("ulx3s"))["RAM"] == 8 * 131_072 / 16_384)


def test_boards_are_listed_at_once(capsys, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("synthesised")

    monkeypatch.setattr("sw.fit.area", refuse)
    main_exits(["boards"])
    told = capsys.readouterr().out
    assert told == table(rows(BOARDS.values())) + "\n"
    assert re.search(r"^ulx3s +LFE5U-85F +83,640 +32 MB +40 MHz +open +nano \(\d\d %\), small \(",
                     told, re.MULTILINE)
    main_exits(["boards", "--json", "--config", "nano"])
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["ulx3s"]["config"]["fits"] and not listed["ulx3s-25f"]["config"]["fits"]
    assert listed["arty-a7-35"]["flow"] == "vendor"


def test_a_configuration_that_is_not_kept_is_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("sw.fit.measure", lambda config, **_: {"LUT": 20_000, "FF": 9_000,
                                                               "DSP": 20, "RAM": 30})
    path = tmp_path / "tiny.toml"
    path.write_text((ROOT / "hw" / "presets" / "small.toml").read_text() + "ranges = 2\n")
    main_exits(["boards", "--config", str(path)])
    assert re.search(r"ulx3s-25f .* 17,400 \(72 %\)$", capsys.readouterr().out, re.MULTILINE)


def test_the_documentation_has_the_present_table():
    text = (ROOT / "docs" / "boards.md").read_text()
    listed = "\n".join(f"    {line}" for line in table(rows(BOARDS.values())).splitlines())
    assert listed in text


def test_levers_are_keys_of_a_configuration():
    assert all(getattr(load("nano"), name) >= low for name, (low, _) in sw.fit.LEVERS.items())


def main_exits(arguments):
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code
