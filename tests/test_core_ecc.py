"""Wrong bits in the whole machine: what is corrected and counted, and what ends a run."""

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from hw import isa
from hw import register_map as rm
from hw.config import PRESETS, load
from hw.register_map import Place
from hw.registers import Registers
from sim.build import verilog_of
from sim.device import SimulatedDevice, Timing
from sw.compile.compiler import compile_model
from sw.errors import UserError
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.machine import COPY, LINE, MEMORY, copies, run
from tests.models import random_model
from tests.test_core_cache import wait
from tests.test_core_model import check


NANO = replace(load("nano"), name="nano-ecc", ecc=1)
MODEL = random_model(dim=32, hidden=32, n_heads=2, n_kv_heads=1, n_layers=1, vocabulary=40,
                     context=100)
STOP = isa.encode("stop")
FILL = [isa.encode("gather", dst=0, blocks=2, base=0), isa.encode("sync"), STOP]
#: Read copy a of the workspace alone, and both.
SCATTER = [isa.encode("scatter", a=0, blocks=1, base=16), isa.encode("sync"), STOP]
LARGER = [isa.encode("maximum", dst=4, a=1, b=0, blocks=1), isa.encode("sync"),
          isa.encode("scatter", a=4, blocks=1, base=16), isa.encode("sync"), STOP]
READERS = {Place.WORKSPACE_A: SCATTER, Place.WORKSPACE_B: LARGER}
ROW = 5

#: The copies of the valid bits of the cache, which have no place.
VALID = ("valid_0", "valid_1")
MEMORIES = {Place.PROGRAM: "core.sequencer.memory.memory",
            Place.WORKSPACE_A: "core.workspace.a.memory",
            Place.WORKSPACE_B: "core.workspace.b.memory",
            **{copy: f"core.dma.cache.lookup.{copy}" for copy in VALID}}
#: Address without a register, by which a host turns over a bit of a setting.
TURN = 0x60


def with_turns(verilog):
    """The core with a host that can turn over bits of the settings, which are in no memory: which
    bit, and from bit 8 on the offset of the setting."""
    cases = ""
    for name in Registers.SETTINGS:
        bit = f"registers.settings__{name}[s_axil_wdata[4:0]]"
        cases += f"\n      {rm.BY_NAME[name].offset}: {bit} <= ~{bit};"
    turns = f"""
  always @(posedge clk)
    if (s_axil_awvalid & s_axil_wvalid & s_axil_awready & s_axil_awaddr == {TURN})
      case (s_axil_wdata[15:8]){cases}
        default: ;
      endcase
"""
    top = verilog.index("\nmodule tokamac(")
    end = verilog.index("\nendmodule", top)
    return verilog[:end] + turns + verilog[end:]


@pytest.fixture(scope="module")
def device():
    with SimulatedDevice(NANO, memory_bytes=MEMORY, timing=Timing(latency=20),
                         verilog=with_turns(verilog_of(NANO))) as device:
        device.write_register("watchdog", 5000)
        yield device


@pytest.fixture(scope="module")
def memories(device):
    return device.on_die()


def flip(memories, where, address, *bits):
    """Turn over bits of a word."""
    name = MEMORIES.get(where)
    if where is Place.CACHE:
        address, bank = divmod(address, NANO.beat_words)
        name = f"core.dma.cache.sram.bank_{bank}.memory"
    memories[name].flip(address, *bits)


def turn(device, setting, bit):
    """Turn over a bit of a setting; the write is refused, for there is no such register."""
    value = rm.BY_NAME[setting].offset << 8 | bit
    assert device._library.machine_write(device._machine, TURN, value) == 2


def corrected(device):
    """``(words, place)`` of the last run."""
    return device.counters()["corrected"], device.read_register("corrected_place")


def test_memories_are_cleared_behind_a_reset(device, memories):
    """No word is wrong, though all were; the host, which writes at once, has to wait."""
    for where in (Place.PROGRAM, Place.WORKSPACE_A, Place.WORKSPACE_B):
        words = memories[MEMORIES[where]].words
        words[:] = 0
        words[:, 0] = 1
    before = device.cycle
    device.reset()
    assert device.cycle - before > NANO.clear_cycles
    device.write_register("watchdog", 5000)
    assert run(device, [isa.encode("scatter", a=0, blocks=NANO.blocks, base=0), *COPY]) == rm.DONE
    assert corrected(device) == (0, 0)
    assert not any(device.read(0, NANO.workspace)[2 * LINE:])
    assert copies(device)


@pytest.mark.parametrize("bit", [0, 31, 38, 39, 155])
def test_a_wrong_bit_of_an_instruction_is_corrected_once(device, memories, bit):
    assert copies(device)
    flip(memories, Place.PROGRAM, 3, bit)
    for words in (1, 0):
        device.start()
        assert device.run(10_000) == rm.DONE and device.emitted() == [7]
        assert corrected(device) == (words, rm.place(Place.PROGRAM, 3) if words else 0)


def fill(device):
    """Block 0 of the workspace is larger than block 1; what readers then write."""
    data = np.arange(64, 0, -1, dtype=np.float32).tobytes()
    device.write(0, data)
    assert run(device, FILL) == rm.DONE
    return data[:128]


@pytest.mark.parametrize("bit", [0, 63, 64, 71])
@pytest.mark.parametrize("where", READERS)
def test_a_wrong_bit_of_the_workspace_is_corrected_once(device, memories, where, bit):
    right = fill(device)
    flip(memories, where, ROW, bit)
    for words in (1, 0):
        device.write(16 * LINE, bytes(128))
        assert run(device, READERS[where]) == rm.DONE
        assert device.read(16 * LINE, 128) == right
        assert corrected(device) == (words, rm.place(where, ROW) if words else 0)


def test_words_that_are_corrected_in_the_same_cycle_are_all_counted(device, memories):
    """Rows of both copies; the place is that of one of them."""
    right = fill(device)
    block = NANO.block_rows
    flip(memories, Place.WORKSPACE_A, block + ROW, 3)
    flip(memories, Place.WORKSPACE_B, ROW, 70)
    assert run(device, LARGER) == rm.DONE
    assert device.read(16 * LINE, 128) == right
    words, place = corrected(device)
    assert words == 2
    assert place in (rm.place(Place.WORKSPACE_A, block + ROW), rm.place(Place.WORKSPACE_B, ROW))


def ends(device, where, address):
    """The last run ended because of wrong bits there."""
    assert device.read_register("status") == rm.DONE | rm.FAULT
    assert device.cause() == rm.Cause.ECC
    assert device.read_register("fault_low") == rm.place(where, address)
    assert device.read_register("fault_high") == 0
    assert corrected(device)[0] == 0


@pytest.mark.parametrize("bits", [(3, 4), (5, 38), (153, 155)])
def test_two_wrong_bits_of_an_instruction_end_the_run_there(device, memories, bits):
    """It is not executed; what is before it is, and the run after the next writing is right."""
    device.program([isa.encode("emit", ra=0), STOP, isa.encode("emit", ra=0), STOP])
    flip(memories, Place.PROGRAM, 2, *bits)
    device.start()
    assert device.run(10_000) == rm.DONE and device.emitted() == [0]
    words = [isa.encode("emit", ra=0), isa.encode("sync"), isa.encode("emit", ra=0)]
    device.program(words[:2])
    for _ in range(2):
        device.start()
        device.run(10_000)
        ends(device, Place.PROGRAM, 2)
        assert device.read_register("pc") == 2 and device.emitted() == [0]
    session = SimpleNamespace(device=device, compiled=SimpleNamespace(words=words))
    assert Session.fault(session, rm.DONE | rm.FAULT) == (
        "the machine stopped with ECC at instruction 2 (emit): wrong bits in PROGRAM 0x2")
    assert copies(device)


@pytest.mark.parametrize("bits", [(0, 1), (10, 66), (70, 71)])
@pytest.mark.parametrize("where", READERS)
def test_two_wrong_bits_of_the_workspace_end_the_run(device, memories, where, bits):
    fill(device)
    flip(memories, where, ROW, *bits)
    flip(memories, where, 40, *bits)      # nobody reads it
    loop = [*READERS[where][:-1], isa.encode("branch", target=len(READERS[where]) - 1)]
    run(device, loop)
    ends(device, where, ROW)
    assert copies(device)
    right = fill(device)
    assert run(device, READERS[where]) == rm.DONE
    assert device.read(16 * LINE, 128) == right


@pytest.mark.parametrize("bit", [0, 17, 31])
@pytest.mark.parametrize("setting", Registers.SETTINGS)
def test_a_wrong_bit_of_a_setting_ends_runs_until_it_is_written(device, setting, bit):
    """While one is under way, and before it begins."""
    offset, value = rm.BY_NAME[setting].offset, device.read_register(setting)
    device.program([isa.encode("branch", target=0)])
    device.start()
    assert device.run(500) == rm.RUNNING
    turn(device, setting, bit)
    device.run(10_000)
    ends(device, Place.SETTING, offset)
    run(device, COPY)
    ends(device, Place.SETTING, offset)
    assert device.read_register("instructions_low") == 0
    device.write_register(setting, value)
    assert copies(device)


def test_settings_that_a_host_may_not_write_keep_their_parity(device):
    """A run goes on when writes of other parity are refused."""
    device.program([isa.encode("branch", target=0)])
    device.start()
    for name in Registers.SETTINGS:
        with pytest.raises(UserError, match="refused"):
            device.write_register(name, device.read_register(name) ^ 1)
    assert device.run(500) == rm.RUNNING
    device.write_register("control", rm.ABORT)
    device.run(10_000)
    assert device.cause() == rm.Cause.ABORTED
    assert copies(device)


READ = isa.encode("stream", stream="d", base=8, beats=16)
FLUSH = isa.encode("flush", d=1)
PIN = isa.encode("pin", base=8, lines=4, place=5, preload=1)
FIRST = 5 * NANO.burst          # word of the SRAM


def reads_twice(device, memories, where, address, *bits):
    """Status, and ``(hits, misses)``, of a program that reads a pinned range twice; bits turn over
    before."""
    words = [PIN, *wait(1)]
    for _ in range(2):
        words += [READ, *wait(len(words) + 1), FLUSH]
    device.program([*words, STOP])
    device.start()
    assert device.run(1500) == rm.RUNNING
    flip(memories, where, address, *bits)
    status = device.run(100_000)
    counters = device.counters()
    return status, (counters["hits"], counters["misses"])


@pytest.mark.parametrize("word", [0, 7, 63])
@pytest.mark.parametrize("bit", [0, 31, 38])
def test_a_wrong_bit_of_the_cache_is_corrected_once(device, memories, word, bit):
    assert reads_twice(device, memories, Place.CACHE, FIRST + word, bit) == (rm.DONE, (32, 0))
    assert corrected(device) == (1, rm.place(Place.CACHE, FIRST + word))


@pytest.mark.parametrize("bits", [(0, 1), (31, 32), (37, 38)])
def test_two_wrong_bits_of_the_cache_end_the_run(device, memories, bits):
    """Memory has the words; the next run reads them there."""
    assert reads_twice(device, memories, Place.CACHE, FIRST + 6, *bits)[0] == rm.DONE | rm.FAULT
    ends(device, Place.CACHE, FIRST + 6)
    assert copies(device)
    assert reads_twice(device, memories, Place.CACHE, FIRST + 64, *bits) == (rm.DONE, (32, 0))
    assert corrected(device) == (0, 0)


@pytest.mark.parametrize("row, misses", [(6, 1), (9, 0)])
@pytest.mark.parametrize("copy", VALID)
def test_a_wrong_valid_bit_is_a_miss(device, memories, copy, row, misses):
    """Of a line of the range, and of one that nobody has pinned."""
    assert reads_twice(device, memories, copy, row, 0) == (rm.DONE, (32 - 4 * misses, misses))
    assert corrected(device) == (0, 0)


@pytest.mark.parametrize("copy", VALID)
def test_an_invalid_line_does_not_become_valid_by_a_wrong_bit(device, memories, copy):
    """A range that holds nothing yet, where all lines of another one were valid."""
    words = [PIN, *wait(1)]
    words += [isa.encode("pin", base=8, lines=4, place=5), *wait(len(words) + 1), READ]
    device.program([*words, *wait(len(words)), STOP])
    device.start()
    assert device.run(4000) == rm.RUNNING
    for row in range(5, 9):
        flip(memories, copy, row, 0)
    assert device.run(100_000) == rm.DONE
    counters = device.counters()
    assert (counters["hits"], counters["misses"], counters["fills"]) == (0, 4, 8)


def test_a_model_of_which_bits_turn_over_all_the_time():
    """Other words each time; what it writes is the same bit for bit."""
    compiled = compile_model(MODEL, NANO, [1, 5, 9], 40, format="int8", check=True, pin=("kv",))
    rng = np.random.default_rng(1)
    sizes = {Place.PROGRAM: (len(compiled.words), 156), Place.WORKSPACE_A: (NANO.rows, 72),
             Place.WORKSPACE_B: (NANO.rows, 72), Place.CACHE: (NANO.cache // 4, 39)}
    words = {place: iter(rng.permutation(size)) for place, (size, _) in sizes.items()}
    with SimulatedDevice(NANO, memory_bytes=compiled.memory.bytes,
                         verilog=with_turns(verilog_of(NANO))) as device:
        session, memories = Session(device, compiled), device.on_die()
        verifier = Verifier(device, compiled)
        for _ in session.tokens():
            for place, (size, bits) in sizes.items():
                for address in islice(words[place], size // 60):
                    flip(memories, place, int(address), int(rng.integers(bits)))
        assert "bit for bit" in verifier.verify(session.outcome)
    assert session.outcome.counters["corrected"] > 50


def test_a_whole_model_is_the_same_in_the_same_cycles(tmp_path):
    """Bit for bit, and counter for counter."""
    (tmp_path / "ecc.toml").write_text(
        (PRESETS / "nano.toml").read_text() + "ecc = 1\n")
    plain, protected = (check(MODEL, preset, "int8", 8, prompt=[1, 5, 9])
                        for preset in ("nano", str(tmp_path / "ecc.toml")))
    assert protected.tokens == plain.tokens and protected.counters == plain.counters
