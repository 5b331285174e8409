"""Random programs, legal and not, on unkind memory, with errors, hangs, aborts and resets.

``make nightly`` runs more, and others each day. Whatever fails says how it is repeated.
"""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from hw import isa
from hw.config import load
from verif.soak.program import Program
from verif.soak.run import Soak


NANO = load("nano")
CONFIGS = {"nano": NANO, "two channels": replace(NANO, channels=2), "sim": load("sim")}

#: Each day has other seeds.
TODAY = date.today().toordinal() * 10_000


@pytest.fixture(scope="module", params=CONFIGS)
def soak(request):
    soak = Soak(CONFIGS[request.param])
    yield soak
    soak.close()


@pytest.mark.parametrize("soak", ["nano"], indirect=True)
@pytest.mark.parametrize("first", range(0, 100, 20))
def test_random_programs(soak, first):
    """A hundred, always the same."""
    for seed in range(first, first + 20):
        soak.run(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(TODAY, TODAY + 1500, 100))
def test_many_random_programs(soak, first):
    for seed in range(first, first + 100):
        soak.run(seed)
    print(f"seeds {first} to {first + 99}: {soak.tally}")


def names(words):
    """Instructions of a program; 63 is what branches jump over."""
    return {isa.decode(word)[0] for word in words if word != 63}


@pytest.mark.parametrize("soak", ["nano"], indirect=True)
def test_legal_programs_use_every_instruction(soak):
    """And most of them are in the program that is run behind each other one."""
    used = set(names(soak.good))
    for seed in range(60):
        used |= names(Program(np.random.default_rng(seed), soak.image).write(9))
    assert {instruction.name for instruction in isa.INSTRUCTIONS} == used
    assert names(soak.good) >= {
        "gather", "scatter", "quantise", "stream", "matmul", "append", "walk", "attend", "divide",
        "pick", "load", "branch", "emit", "wait", "flush", "paging"}
