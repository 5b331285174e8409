"""What a program holds in the cache: packing, refusals, and runs on the emulator."""

from dataclasses import replace

import pytest

from hw import isa
from hw.config import load
from sw.compile.compiler import compile_model
from sw.compile.pinning import find_pins, parse_pins, runs
from sw.errors import UserError
from sw.runtime.emulator import Emulator
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.models import random_model


SIM = load("sim")


def compiled(pin, config=SIM, **options):
    return compile_model(random_model(), config, [1, 5], 6, pin=pin, check=True, **options)


def outcome(task):
    device = Emulator(task.config, memory_bytes=task.memory.bytes)
    session, verifier = Session(device, task), Verifier(device, task)
    for _ in session.tokens():
        pass
    assert "bit for bit" in verifier.verify(session.outcome)
    return session.outcome


def test_names_are_a_list():
    assert parse_pins("none") == ()
    assert parse_pins("kv,weights") == ("kv", "weights")
    for text in ("", "all", "kv,kv", "none,kv", "kv, weights"):
        with pytest.raises(UserError, match="none, or some of weights, kv with commas"):
            parse_pins(text)


def test_ranges_are_packed_in_the_order_of_names():
    regions = compiled(()).memory.regions
    weights = regions["layers"].line, regions["layers"].lines + regions["classifier"].lines
    for names in (("weights", "kv"), ("kv", "weights")):
        pins = find_pins(names, compiled(names).memory, SIM)
        assert [pin.comment for pin in pins] == list(names)
        found = {pin.comment: (pin.line, pin.lines) for pin in pins}
        assert found["weights"] == weights
        assert found["kv"] == (regions["kv"].line, regions["kv"].lines)
        end = 0
        for pin in pins:
            assert pin.place == end
            end += (pin.line + pin.lines - 1) // SIM.burst_lines - pin.line // SIM.burst_lines + 1


def test_regions_that_follow_each_other_are_one_range():
    class Region:
        def __init__(self, line, lines):
            self.line, self.lines = line, lines

    assert runs([Region(9, 2), Region(3, 6), Region(12, 1)]) == [[3, 8], [12, 1]]


def test_a_program_begins_with_its_ranges():
    words = compiled(("kv", "weights")).words
    (first, kv), (second, weights) = map(isa.decode, words[:2])
    assert first == second == "pin"
    assert (kv["slot"], kv["preload"], weights["slot"], weights["preload"]) == (0, 0, 1, 1)
    assert isa.decode(compiled(()).words[0])[0] != "pin"


def test_what_does_not_fit_is_refused_with_its_size():
    small = replace(SIM, name="small", cache=8192)
    with pytest.raises(UserError, match=r"weights take \d+ bytes of the cache, configuration "
                                        r"small has 8192"):
        compiled(("weights",), small)
    with pytest.raises(UserError, match="configuration bare has no cache to pin kv .* nano, sim"):
        compiled(("kv",), replace(SIM, name="bare", cache=0))
    with pytest.raises(UserError, match="weights and kv are 2 ranges of memory, the cache of "
                                        "configuration one holds 1"):
        compiled(("weights", "kv"), replace(SIM, name="one", ranges=1))


def test_pinned_models_read_less_memory():
    streamed, weights, both = (outcome(compiled(pin)) for pin in (
        (), ("weights",), ("weights", "kv")))
    assert streamed.tokens == weights.tokens == both.tokens
    assert streamed.counters["hits"] == 0 and weights.counters["w_words"] == 0
    assert weights.counters["hits"] == streamed.counters["w_words"] // SIM.beat_words
    assert weights.counters["d_words"] == streamed.counters["d_words"]
    assert 0 < both.counters["d_words"] < streamed.counters["d_words"] // 2


@pytest.mark.parametrize("words, cause", [
    ([dict(lines=1)], "NONE"), ([dict(lines=5), dict(slot=1, base=4, lines=1)], "RANGE"),
    ([dict(lines=2**20)], "RANGE"), ([dict(slot=5, lines=1)], "ILLEGAL")], ids=str)
def test_the_emulator_checks_ranges(words, cause):
    device = Emulator(SIM)
    device.program([*(isa.encode("pin", **values) for values in words), isa.encode("drop"),
                    isa.encode("stop")])
    device.start()
    device.run(100)
    assert device.cause().name == cause
