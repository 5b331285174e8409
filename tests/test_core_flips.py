"""Bits that flip in the memories on the die, and the campaign that counts what comes of it."""

from contextlib import closing
from dataclasses import replace
from datetime import date

import pytest

from hw import isa
from hw.config import load
from sw.bench.flips import measure, rows
from sw.cli import main
from verif.soak.flips import GROUPS, OUTCOMES, PROTECTED, Campaign, Flip


NANO = load("nano")
CHECKED = replace(NANO, ecc=1)
TODAY = date.today().toordinal()


@pytest.fixture(scope="module")
def campaign():
    campaign = Campaign(NANO, programs=8)
    yield campaign
    campaign.close()


def test_all_memories_are_found(campaign):
    memories = campaign.device.on_die()
    assert memories["core.workspace.a.memory"].words.shape == (NANO.rows, NANO.row_bits // 8)
    assert campaign.bits("program") == 128 * NANO.program
    assert campaign.bits("workspace") == 2 * 8 * NANO.workspace
    assert campaign.bits("cache") == 8 * NANO.cache
    named = [name for group in GROUPS for name in campaign.group(group)]
    assert len(named) == len(set(named))
    # Modules that Verilator does not inline are parts of others.
    assert f"core.matmul.array.columns.part_{NANO.columns - 1}.act" in named
    # Tables of constants are left out, and nothing else.
    assert {name.rpartition(".")[2] for name in set(memories) - set(named)} == {"slopes", "starts"}


def test_words_of_the_host_are_in_program_memory(campaign):
    words = campaign.programs[0].words
    campaign.device.program(words)
    held = campaign.memories["core.sequencer.memory.memory"].words
    assert [int.from_bytes(row.tobytes(), "little") for row in held[:len(words)]] == words


def test_flips_are_seen_by_the_machine(campaign):
    """Each outcome, where it is known."""
    program, memory = campaign.programs[0], "core.sequencer.memory.memory"
    last = len(program.words) - 1
    assert isa.decode(program.words[last])[0] == "stop"
    assert campaign.run(Flip(0, memory, last + 1, (0,), 0)) == "masked"
    campaign.causes.clear()
    # Bits that no instruction has.
    assert campaign.run(Flip(0, memory, last, (127,), 0)) == "detected"
    assert campaign.causes == {"ILLEGAL": 1}
    # What is written to another place.
    at = [isa.decode(word)[0] if word != 63 else "" for word in program.words].index("scatter")
    bit = isa.BY_NAME["scatter"].offsets["base"]
    assert campaign.run(Flip(0, memory, at, (bit,), 0)) == "silent"
    # An endless loop in place of the end.
    branch = isa.encode("branch", condition="eq", ra=0, rb=0, target=last)
    bits = tuple(bit for bit in range(128) if (program.words[last] ^ branch) >> bit & 1)
    assert campaign.run(Flip(0, memory, last, bits, 0)) == "hang"
    assert not campaign.left


def test_outcomes_do_not_depend_on_what_ran_before(campaign):
    flips = [flip for group in GROUPS
             for flip in campaign.flips(group, 60 if group == "program" else 10, seed=3)]
    forward = [campaign.run(flip) for flip in flips]
    assert [campaign.run(flip) for flip in flips[::-1]] == forward[::-1]
    assert {"masked", "silent", "detected"} <= set(forward)
    assert not campaign.left


def test_what_a_flip_leaves_behind_is_told(campaign, capsys):
    """Here every run leaves a byte of memory wrong."""
    data = campaign.soak.image.bytes
    data[-1] ^= 1
    try:
        row = measure(campaign, "sums", 16, 1, 0, "")
    finally:
        data[-1] ^= 1
    assert not row.correct and row.more["silent"] == 16
    said = capsys.readouterr().err
    assert said.count("the program after it left 1 bytes of memory wrong") == 2
    assert measure(campaign, "sums", 8, 1, 0, "").correct


@pytest.mark.parametrize("bits", [1, 2])
def test_small_campaign(bits):
    found = list(rows(NANO, flips=40, bits=bits, memories=",".join(PROTECTED)))
    assert [(row.case, row.more["ecc"]) for row in found] == [
        (group, ecc) for group in PROTECTED for ecc in ("off", "on")]
    for row in found:
        assert row.correct and row.more["flips"] == 40
        assert sum(row.more[name] for name in OUTCOMES) == 40 and row.more["masked"] > 10
        assert row.more["rule"] == 0
        # Of valid bits there are two, and no code.
        checked = row.more["ecc"] == "on" and row.case != "valid"
        assert (row.more["corrected"] > 0) == (checked and bits == 1)
        if checked and bits == 2:
            assert row.more["detected"] > 0


def test_two_bits_have_a_cause_of_their_own():
    with closing(Campaign(CHECKED, programs=4)) as campaign:
        for group in ("program", "workspace", "cache"):
            campaign.causes.clear()
            outcomes = [campaign.run(flip) for flip in campaign.flips(group, 30, bits=2)]
            assert set(outcomes) == {"masked", "detected"}
            assert campaign.causes == {"ECC": outcomes.count("detected")}
        assert not campaign.left


def test_what_check_bits_must_prevent_is_told(capsys):
    """A row is wrong if a protected machine gives wrong results."""
    with closing(Campaign(CHECKED, programs=4)) as campaign:
        campaign.run = lambda flip: "silent"
        assert not measure(campaign, "program", 1, 1, 0, "").correct
        assert measure(campaign, "staging", 1, 1, 0, "").correct
        campaign.run = lambda flip: "detected"
        assert not measure(campaign, "workspace", 1, 1, 0, "").correct
        assert measure(campaign, "workspace", 1, 2, 0, "").correct
    assert capsys.readouterr().err.count("after Flip") == 2


@pytest.mark.nightly
@pytest.mark.parametrize("bits", [1, 2])
def test_large_campaign(bits):
    """Other flips each day."""
    for row in rows(NANO, flips=1000, bits=bits, seed=TODAY):
        print(row.command, row.more)
        assert row.correct


def test_options_of_the_bench(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "gemm", "--flips", "3"])
    assert "--flips is no option of the benchmark 'gemm'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "flips", "--memories", "ram"])
    assert "there are no memories 'ram'; there are program" in capsys.readouterr().err
