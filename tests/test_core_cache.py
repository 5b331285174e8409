"""The cache in the whole machine: ranges of programs, and models that are pinned."""

import pytest

from hw import isa
from hw import register_map as rm
from hw.config import load
from sim.device import Timing
from tests.machine import copies, fails, run
from tests.models import random_model
from tests.test_core_model import BUNDLED, check


NANO = load("nano")
BEATS = 16
WORDS = BEATS * NANO.beat_words
LINES = BEATS * NANO.beat_bytes // NANO.line_bytes

READ = isa.encode("stream", stream="d", base=8, beats=BEATS)
FLUSH = isa.encode("flush", d=1)
STOP = isa.encode("stop")


def wait(at, rounds=400):
    """Instructions that take some thousand cycles; ``at`` is the number of the first."""
    return [isa.encode("set", rd=1, imm=rounds), isa.encode("add", rd=1, ra=1, imm=2**32 - 1),
            isa.encode("branch", condition="ne", ra=1, rb=0, target=at + 1)]


def pin(**values):
    return isa.encode("pin", **{"base": 8, "lines": LINES, **values})


def counts(device, *parts):
    """``(words of D, hits, misses, fills)`` of a program of parts with waits between."""
    words = []
    for part in parts:
        words.append(part)
        words += wait(len(words))
    assert run(device, [*words, STOP]) == rm.DONE
    counters = device.counters()
    return tuple(counters[name] for name in ("d_words", "hits", "misses", "fills"))


def test_a_range_is_read_from_memory_once(device):
    assert counts(device, pin(slot=3, place=5), READ, FLUSH, READ, FLUSH, READ) == (
        WORDS, 2 * BEATS, LINES, LINES)


def test_a_range_that_is_preloaded_is_there(device):
    assert counts(device, pin(preload=1), READ) == (0, BEATS, 0, LINES)


def test_what_is_dropped_or_pinned_anew_is_read_again(device):
    assert counts(device, pin(preload=1), isa.encode("drop", slot=0), READ) == (
        WORDS, 0, 0, LINES)
    assert counts(device, pin(preload=1), pin(place=64), READ) == (WORDS, 0, LINES, 2 * LINES)


def test_instructions_of_ranges_take_their_cycles(device):
    def cycles(*words):
        assert run(device, [*words, STOP]) == rm.DONE
        return device.counters()["cycles"]

    drop = isa.encode("drop", slot=0)
    assert cycles(pin()) == cycles() + NANO.ranges + 5
    assert cycles(drop) == cycles() + 4
    # One that follows waits until the valid bits of the first one's bursts are cleared.
    bursts = -(-LINES // NANO.burst_lines)
    assert cycles(pin(), drop) == cycles(pin()) + bursts + 2


def test_no_range_survives_a_run(device):
    assert counts(device, pin(preload=1)) == (0, 0, 0, LINES)
    assert counts(device, READ) == (WORDS, 0, 0, 0)
    assert copies(device)


@pytest.mark.parametrize("values", [
    dict(lines=NANO.cache_bursts + 1), dict(place=NANO.cache_bursts - LINES + 1),
    dict(slot=1, place=NANO.cache_bursts // 2), dict(slot=1, base=8 + LINES, place=LINES - 1),
], ids=["large", "place", "lines of another", "place of another"])
def test_illegal_ranges_are_faults(device, values):
    fails(device, [pin(), pin(**values), STOP], rm.Cause.RANGE, pc=1)


@pytest.mark.parametrize("values", [dict(slot=4), dict(lines=0), dict(place=NANO.cache_bursts)],
                         ids=str)
def test_fields_beyond_the_cache_are_illegal(device, values):
    fails(device, [pin(), pin(**values), STOP], rm.Cause.ILLEGAL, pc=1)


def test_a_pinned_model_is_the_same_model():
    """Memory gives its weights hardly more than once, and its keys and values only to the FIFO."""
    streamed = check(BUNDLED, "sim", "int4", 8)
    for names, words in ((("weights",), ("w_words",)), (("kv",), ("d_words",)),
                         (("kv", "weights"), ("w_words", "d_words"))):
        pinned = check(BUNDLED, "sim", "int4", 8, pin=names)
        assert pinned.tokens == streamed.tokens
        assert pinned.counters["cycles"] < streamed.counters["cycles"]
        for name in words:
            assert pinned.counters[name] < 0.5 * streamed.counters[name]
            assert pinned.counters["hits"] > 0


def test_keys_and_values_that_are_pinned_while_memory_stalls():
    """Several blocks, which are read while they are written."""
    timing = Timing(latency=100, refresh_every=780, refresh_for=10, stall_per_256=40, rate_num=2,
                    rate_den=3)
    model = random_model(dim=32, hidden=32, n_heads=2, n_kv_heads=1, n_layers=1, vocabulary=40,
                         context=100)
    outcome = check(model, "nano", "int8", 60, timing=timing, prompt=[1, 5, 9], pin=("kv",))
    counters = outcome.counters
    assert counters["hits"] > 0 and counters["misses"] < counters["hits"] // 4
