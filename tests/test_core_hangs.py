"""Whatever never comes, the watchdog ends the run, and the bus stays legal and comes back."""

import pytest

from hw import isa
from hw import register_map as rm
from sim.device import HANDSHAKES, Timing
from sw.errors import UserError
from tests.machine import ENDED, copies, run, start


WATCHDOG = 400

#: Programs that use a handshake.
READS = [isa.encode("gather", dst=0, blocks=8, base=0, raise0=1), isa.encode("sync"),
         isa.encode("stop")]
WRITES = [isa.encode("scatter", a=0, blocks=8, base=16), isa.encode("sync"), isa.encode("stop")]
USES = {"ar": READS, "r": READS, "aw": WRITES, "w": WRITES, "b": WRITES}


@pytest.fixture(autouse=True)
def watched(device):
    device.write_register("watchdog", WATCHDOG)


def comes_back(device):
    """The bus goes on; what was in flight ends, and the machine is as new."""
    device.hang()
    device.step(600)
    assert device.run(0) == ENDED
    assert copies(device)


@pytest.mark.parametrize("handshake", HANDSHAKES)
@pytest.mark.parametrize("cycles", [0, 60, 75, 131])
def test_a_bus_that_hangs_ends_the_run_twice_the_watchdog_later(device, handshake, cycles):
    start(device, USES[handshake])
    device.run(cycles)
    device.hang(handshake)
    begin = device.cycle
    assert device.run(100_000) == ENDED | rm.HUNG
    assert device.cause() == rm.Cause.WATCHDOG
    assert device.cycle - begin < 2 * WATCHDOG + 400
    comes_back(device)


@pytest.mark.parametrize("handshake", HANDSHAKES)
def test_a_bus_that_dies_in_the_halt_ends_the_run(device, handshake):
    """The first fault stays the cause."""
    command = WRITES[0] if USES[handshake] is WRITES else isa.encode("stream", base=0, beats=100)
    device.hang(handshake)
    start(device, [command, *[isa.encode("set", rd=1)] * 10, 63])
    assert device.run(100_000) == ENDED | rm.HUNG
    assert device.cause() == rm.Cause.ILLEGAL
    assert device.read_register("pc") == 11
    comes_back(device)


#: Has asked for words, and does not wait for them.
STOPS_EARLY = [isa.encode("stream", stream="w", base=0, beats=100),
               *[isa.encode("set", rd=1, imm=1)] * 8, isa.encode("stop")]


@pytest.mark.parametrize("handshake", ["ar", "r"])
def test_a_program_that_stops_before_its_stream_came_says_that_the_bus_hangs(device, handshake):
    device.hang(handshake)
    assert run(device, STOPS_EARLY) == ENDED | rm.HUNG
    assert device.cause() == rm.Cause.HUNG
    comes_back(device)


def test_nothing_is_started_nor_set_while_the_bus_hangs(device):
    device.hang("r")
    assert run(device, READS) == ENDED | rm.HUNG
    for name in ("control", "watchdog", "read_base", "write_limit", "seed_low", "program_address",
                 "program_data"):
        with pytest.raises(UserError, match=f"refused to write register {name}"):
            device.write_register(name, 1)
    device.write_register("control", rm.ABORT)
    assert device.run(1000) == ENDED | rm.HUNG
    comes_back(device)


def test_late_answers_are_taken_and_forgotten(device):
    """They come one by one, while the next start is refused."""
    device.hang("r")
    assert run(device, READS) == ENDED | rm.HUNG
    device.set_timing(Timing(r_per_256=250))
    device.hang()
    device.step(200)
    assert device.run(0) == ENDED | rm.HUNG
    with pytest.raises(UserError, match="refused"):
        device.start()
    device.set_timing(Timing(latency=20))
    comes_back(device)


def test_a_slow_bus_does_not_hang(device):
    """The halt takes longer than the watchdog, but something moves."""
    device.set_timing(Timing(latency=20, rate_num=1, rate_den=100))
    start(device, STOPS_EARLY)
    begin = device.cycle
    assert device.run(100_000) == rm.DONE
    assert device.cycle - begin > 2 * WATCHDOG
    assert copies(device)


def test_without_a_watchdog_the_host_waits(device):
    device.write_register("watchdog", 0)
    device.hang("r")
    assert run(device, READS, 20_000) == rm.RUNNING
    device.write_register("control", rm.ABORT)
    assert device.run(20_000) == rm.RUNNING | rm.FAULT
    device.hang()
    assert device.run(1000) == ENDED
    assert device.cause() == rm.Cause.ABORTED
    assert copies(device)


@pytest.mark.parametrize("words", [
    [isa.encode("set", rd=1, imm=3), isa.encode("emit", ra=1), isa.encode("branch", target=1)],
    [isa.encode("scatter", a=0, blocks=1, base=16, take0=3), isa.encode("sync")],
    [isa.encode("sum", a=0, b=8, dst=16, blocks=8, take0=1), isa.encode("sync")],
    [isa.encode("stream", stream="w", base=0, beats=3),
     isa.encode("matmul", halves=2, tiles=1, height=16, tail=16, columns=1, groups=1),
     isa.encode("sync")],
    [isa.encode("set", rd=2, imm=40),
     isa.encode("walk", base=32, count=2, head_blocks=1, span=1, take0=5),
     isa.encode("attend", head_blocks=1, columns=1, groups=1, count=2), isa.encode("sync")],
    [isa.encode("wait", rd=1, source="load")],
    [isa.encode("set", rd=2, imm=99),
     isa.encode("walk", base=32, count=2, head_blocks=1, span=1, pattern="chosen", window=1),
     isa.encode("attend", head_blocks=1, columns=1, groups=1, count=2, window=1),
     isa.encode("sync")],
    [isa.encode("divide", a=0, dst=8, blocks=1, period=1), isa.encode("sync")],
], ids=["emitted", "counter of a scatter", "counter of a sum", "stream", "walk", "load", "list",
        "sums"])
def test_a_program_that_waits_for_ever_is_ended(device, words):
    start(device, [*words, isa.encode("stop")])
    begin = device.cycle
    assert device.run(100_000) == ENDED
    assert device.cause() == rm.Cause.WATCHDOG
    assert device.cycle - begin < 4 * WATCHDOG
    assert copies(device)
