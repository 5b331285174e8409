"""What goes wrong ends in a cause register, and the next program runs normally."""

import ctypes

import numpy as np
import pytest

from hw import isa
from hw import register_map as rm
from hw.config import load
from tests.machine import ENDED, LINE, MEMORY, copies, fails, run


def test_a_correct_program_runs_twice(device):
    assert copies(device)
    assert copies(device)
    assert device.cause() == rm.Cause.NONE
    counters = device.counters()
    assert counters["cycles"] == sum(
        counters[name] for name in ("busy", "memory", "dependency", "other"))
    assert counters["g_words"] == 32 and counters["written"] == 32


def test_groups_with_nans_are_counted(device):
    """One group of two blocks has a NaN, another one an infinity; the next run has none."""
    x = np.ones((8, 32), np.float32)
    x[3, 7], x[6, 0], x[7, 31] = np.nan, -np.inf, np.nan
    device.write(0, x.tobytes())
    quantise = [isa.encode("gather", dst=0, blocks=8, base=0, raise0=1),
                isa.encode("quantise", a=0, blocks=8, group=2, per_vector=8, columns=1, take0=1),
                isa.encode("stop")]
    assert run(device, quantise) == rm.DONE
    assert device.counters()["nan_groups"] == 2
    assert copies(device)
    assert device.counters()["nan_groups"] == 0


def test_illegal_instruction(device):
    fails(device, [isa.encode("set", rd=1, imm=1), 63], rm.Cause.ILLEGAL, pc=1)


@pytest.mark.parametrize("words, cause", [
    ([isa.encode("gather", dst=0, blocks=1, base=MEMORY // LINE)], rm.Cause.READ_WINDOW),
    ([isa.encode("stream", stream="w", base=MEMORY // LINE, beats=64)], rm.Cause.READ_WINDOW),
    ([isa.encode("stream", stream="d", base=MEMORY // LINE, beats=64)], rm.Cause.READ_WINDOW),
    ([isa.encode("scatter", a=0, blocks=1, base=MEMORY // LINE)], rm.Cause.WRITE_WINDOW),
], ids=["gather", "w", "d", "scatter"])
def test_access_outside_the_windows(device, words, cause):
    wait = [isa.encode("branch", target=len(words))]
    fails(device, words + wait, cause, address=MEMORY)


def appended(entries, token):
    """Appends a token to the head at line 32 by way of the table at line 8."""
    return [
        isa.encode("paging", base=8, entries=entries), isa.encode("set", rd=2, imm=token),
        isa.encode("raise", counter=1, count=2),
        isa.encode("append", base=32, count=2, heads=1, head_blocks=1, take0=1),
        isa.encode("sync"), isa.encode("stop"),
    ]


def test_append_beyond_the_table(device):
    """The third block has an entry, the fourth one has none; then nothing is written."""
    block = load("nano").kv_lines(1) * LINE
    first = 32 * LINE + block
    device.write(8 * LINE, np.array([5, 7, 1, 0], "<u4").tobytes())
    device.write(32 * LINE, b"\xFF" * (8 * block))
    before = device.read(0, MEMORY)
    fails(device, appended(3, 96), rm.Cause.TABLE, pc=4)
    device.write(0, before[:LINE * 32])
    assert device.read(0, MEMORY) == before
    assert run(device, appended(3, 95)) == rm.DONE
    after = device.read(0, MEMORY)
    assert after[:first] == before[:first] and after[first + block:] == before[first + block:]
    assert after != before


def test_walk_beyond_the_table(device):
    wait = isa.encode("branch", target=3)
    fails(device, [isa.encode("paging", base=8, entries=3), isa.encode("set", rd=2, imm=97),
                   isa.encode("walk", base=32, count=2, head_blocks=1, span=1), wait],
          rm.Cause.TABLE, pc=3)


@pytest.mark.parametrize("pages", [[3, 3], [5, 4], [1, 2, 90, 80]],
                         ids=["repeated", "unsorted", "left out"])
def test_list_of_pages_that_is_not_ascending(device, pages):
    device.write(8 * LINE, np.array(pages, "<u4").tobytes())
    fails(device, [isa.encode("set", rd=2, imm=50),
                   isa.encode("choose", base=8, count=2, entries=len(pages)),
                   isa.encode("walk", base=32, count=2, head_blocks=1, span=1, pattern="chosen",
                              window=1),
                   isa.encode("branch", target=3)], rm.Cause.CHOICE, pc=3)


@pytest.mark.parametrize("word", [
    isa.encode("walk", head_blocks=1, span=1, window=4, sinks=5),
    isa.encode("walk", head_blocks=2, span=1), isa.encode("append"),
    isa.encode("attend", head_blocks=1, columns=3, groups=1),
], ids=["sinks", "head of a walk", "head of an append", "columns"])
def test_fields_that_the_machine_cannot_execute(device, word):
    fails(device, [isa.encode("set", rd=1, imm=1), word], rm.Cause.ILLEGAL, pc=1)


def test_bus_errors(device):
    endless = isa.encode("branch", target=1)
    device.fail_at(8 * LINE)
    for word, cause in ((isa.encode("gather", dst=0, blocks=1, base=8), rm.Cause.READ_BUS),
                        (isa.encode("scatter", a=0, blocks=1, base=8), rm.Cause.WRITE_BUS)):
        fails(device, [word, endless], cause, address=8 * LINE)


def test_watchdog_ends_a_program_that_waits_for_ever(device):
    fails(device, [isa.encode("wait", rd=1, source="token")], rm.Cause.WATCHDOG, pc=0)


def test_matrix_product_without_weights_is_ended(device):
    words = [isa.encode("matmul", halves=2, tiles=1, height=2, tail=2, columns=1, groups=1),
             isa.encode("sync"), isa.encode("stop")]
    fails(device, words, rm.Cause.WATCHDOG, pc=1)


def test_host_aborts(device):
    assert run(device, [isa.encode("stream", stream="w", base=0, beats=1000),
                        isa.encode("branch", target=1)], 500) == rm.RUNNING
    device.write_register("control", rm.ABORT)
    assert device.run(10_000) == ENDED
    assert device.cause() == rm.Cause.ABORTED
    assert copies(device)


def test_registers_answer_every_access(device):
    for register in rm.REGISTERS:
        if register.access != "wo":
            device.read_register(register.name)
        if register.access == "ro":
            with pytest.raises(Exception, match=f"refused to write register {register.name}"):
                device.write_register(register.name, 0)
    assert device.read_register("hash") == load("nano").hash


def test_addresses_without_a_register_are_answered_with_an_error(device):
    value, library, machine = ctypes.c_uint32(), device._library, device._machine
    offsets = {register.offset: register for register in rm.REGISTERS}
    before = device.read_register("watchdog")
    for address in range(256):
        register = offsets.get(address)
        read, written = (library.machine_read(machine, address, ctypes.byref(value)),
                         library.machine_write(machine, address, 0) if register is None else None)
        assert read == (0 if register is not None and register.access != "wo" else 2)
        assert written in (2, None)
    assert device.read_register("watchdog") == before
    assert copies(device)
