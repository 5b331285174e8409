"""Memory that is unkind in every way: results stay, only time changes."""

from dataclasses import replace

import numpy as np
import pytest

from hw import isa
from hw import register_map as rm
from hw.config import load
from sim.build import verilog_of
from sim.device import SimulatedDevice, Timing
from sim.timing import load_timing
from sw.errors import UserError
from tests.machine import ENDED, LINE, MEMORY, copies, run


#: Copies 2 KiB, and reads more; many bursts, words and rows.
MUCH = [
    isa.encode("gather", dst=0, blocks=16, base=0, raise0=1),
    isa.encode("scatter", a=0, blocks=16, base=512, take0=1),
    isa.encode("stream", stream="w", base=64, beats=64),
    isa.encode("sync"), isa.encode("stop"),
]

#: Ways to be unkind, each slower than kind memory.
UNKIND = {
    "spread": dict(latency_spread=100),
    "tail": dict(latency_tail=60),
    "rows": dict(banks=2, row_bytes=64, row_miss=50),
    "refresh": dict(refresh_every=50, refresh_for=20),
    "rate": dict(rate_num=1, rate_den=3),
    "stall": dict(stall_per_256=128),
    "ar": dict(ar_per_256=240),
    "aw": dict(aw_per_256=200),
    "w": dict(w_per_256=200),
    "r": dict(r_per_256=200),
    "b": dict(b_per_256=240),
    "data first": dict(data_first=1, aw_per_256=100),
    "host": dict(host_per_256=200),
}
ALL = dict(latency=5, latency_spread=40, latency_tail=10, banks=4, row_bytes=256, row_miss=20,
           refresh_every=300, refresh_for=9, rate_num=2, rate_den=3, stall_per_256=20,
           ar_per_256=60, aw_per_256=60, w_per_256=60, r_per_256=60, b_per_256=60, data_first=1,
           host_per_256=60)


def cycles(device, timing):
    """Cycles of a copy, which must be right."""
    data = np.random.default_rng(1).integers(0, 2**30, 512, np.uint32).tobytes()
    device.write(0, data)
    device.write(512 * LINE, bytes(len(data)))
    device.set_timing(timing)
    begin = device.cycle
    assert run(device, MUCH) == rm.DONE
    assert device.read(512 * LINE, len(data)) == data
    return device.cycle - begin


@pytest.mark.parametrize("kind", UNKIND)
def test_unkind_memory_costs_time_and_nothing_else(device, kind):
    quick = cycles(device, Timing(latency=20))
    assert cycles(device, Timing(**{"latency": 20} | UNKIND[kind])) > quick
    assert copies(device)


def test_a_seed_repeats_a_run():
    def fresh(seed):
        with SimulatedDevice(load("nano"), memory_bytes=MEMORY, seed=seed) as device:
            return [cycles(device, Timing(**ALL)) for _ in range(3)]

    first = fresh(5)
    assert first == fresh(5) != fresh(6)
    assert len(set(first)) > 1


@pytest.mark.parametrize("response", ["slverr", "decerr"])
def test_errors_at_an_address_may_concern_one_direction(device, response):
    device.fail_at(0, response, writes=False)
    assert run(device, MUCH) == ENDED
    assert device.cause() == rm.Cause.READ_BUS
    device.fail_at(None)
    device.fail_at(0, response, reads=False)
    assert cycles(device, Timing(latency=20))
    device.fail_at(512 * LINE, response, reads=False)
    assert run(device, MUCH) == ENDED
    assert device.cause() == rm.Cause.WRITE_BUS
    device.fail_at(None)
    assert copies(device)


@pytest.mark.parametrize("errors, cause", [("read_errors", rm.Cause.READ_BUS),
                                           ("write_errors", rm.Cause.WRITE_BUS)])
def test_errors_come_by_chance(device, errors, cause):
    device.set_timing(Timing(latency=20, **{errors: 60}))
    causes = []
    for _ in range(40):
        run(device, MUCH)
        causes.append(device.cause())
    assert set(causes) == {rm.Cause.NONE, cause}
    device.set_timing(Timing(latency=20))
    assert copies(device)


def test_memory_ends_where_it_ends(device):
    """Windows may be larger than memory."""
    device.write_register("read_limit", 2 * MEMORY // rm.PAGE)
    assert run(device, [isa.encode("gather", dst=0, blocks=1, base=MEMORY // LINE),
                        isa.encode("sync"), isa.encode("stop")]) == ENDED
    assert device.cause() == rm.Cause.READ_BUS
    device.write_register("read_limit", MEMORY // rm.PAGE)


def test_bits_flip_in_their_cycle(device):
    device.write(640, b"\x00")
    device.flip_at(device.cycle + 20, 640, 3)
    device.flip_at(device.cycle + 10, 640, 7)
    assert [device.step(n) or device.read(640, 1)[0] for n in (5, 10, 10)] == [0, 128, 136]


def test_a_file_says_how_memory_behaves(tmp_path):
    path = tmp_path / "memory.toml"
    path.write_text("\n".join(f"{name} = {value}" for name, value in ALL.items()))
    assert load_timing(path) == Timing(**ALL)
    assert str(Timing(latency=7, banks=2)) == "latency = 7, banks = 2"
    for text, message in (("latence = 3", "'latence', which does not exist; did you mean 'lat"),
                          ("latency = 'a'", "latency of the memory must be 0 to 2147483647"),
                          ("r_per_256 = 256", "r_per_256 of the memory must be 0 to 255, not 256"),
                          ("row_bytes = 0", "row_bytes of the memory must be 1 to"),
                          ("rate_num = 3\nrate_den = 2", "at most one word a cycle, not 3 in 2"),
                          ("refresh_every = 5\nrefresh_for = 5", "less than refresh_every"),
                          ("latency", "cannot read the memory file")):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load_timing(path)


def test_the_monitor_knows_the_windows():
    """A machine that reads outside of what the host allows would be found."""
    with SimulatedDevice(load("nano"), memory_bytes=MEMORY, timing=Timing(latency=20)) as device:
        assert cycles(device, Timing(latency=20))
        device._library.machine_window(device._machine, False, True, 0)
        with pytest.raises(UserError, match=r"ar_window: .* \(channel 0, cycle \d+\); memory: "
                                            "latency = 20, seed 1"):
            run(device, MUCH)


def test_the_monitor_sees_every_channel():
    """A machine of two channels reads from unkind memory; on one, bursts are longer than said."""
    config = replace(load("nano"), name="nano2", channels=2)
    text = verilog_of(config)
    wrong = text.replace("assign m_axi1_awlen = 8'h00;", "assign m_axi1_awlen = 8'h01;")
    assert wrong != text
    with SimulatedDevice(config, memory_bytes=MEMORY, verilog=wrong, timing=Timing(**ALL),
                         seed=3) as device:
        for name in ("read_limit", "write_limit"):
            device.write_register(name, MEMORY // 2 // rm.PAGE)
        first = MEMORY // 2 - 64 * 64
        device.write(first, np.arange(1, 1025, dtype=np.float32).tobytes())
        assert run(device, [isa.encode("gather", dst=0, blocks=32, base=first // LINE),
                            isa.encode("sync"), isa.encode("stop")]) == rm.DONE
        assert run(device, [isa.encode("gather", dst=0, blocks=33, base=first // LINE),
                            isa.encode("sync"), isa.encode("stop")]) == ENDED
        assert device.cause() == rm.Cause.READ_WINDOW
        with pytest.raises(UserError, match=r"w_last: WLAST at the wrong word \(channel 1, "):
            run(device, MUCH)
