"""Prepares the environment of the tools that tests start, and the machine that tests share."""

import pytest

from hw import register_map as rm
from hw.config import load
from sim.device import SimulatedDevice, Timing
from sw.toolenv import activate
from tests.machine import MEMORY


activate()

KIND = Timing(latency=20)


@pytest.fixture(scope="module")
def machine():
    with SimulatedDevice(load("nano"), memory_bytes=MEMORY, timing=KIND) as machine:
        yield machine


@pytest.fixture
def device(machine):
    """The simulated configuration ``nano`` with kind memory, open windows and a watchdog."""
    machine.hang()
    machine.fail_at(None)
    machine.set_timing(KIND)
    pages = MEMORY // rm.PAGE
    for name, value in (("read_base", 0), ("read_limit", pages), ("write_base", 0),
                        ("write_limit", pages), ("watchdog", 5000)):
        machine.write_register(name, value)
    return machine
