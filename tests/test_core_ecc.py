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
from sim.build import verilog_of
from sim.device import SimulatedDevice, Timing
from sw.compile.compiler import compile_model
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

#: Where the arrays of a place are in the emitted core.
ARRAYS = {Place.PROGRAM: "core.sequencer.memory.memory.mem",
          Place.WORKSPACE_A: "core.workspace.a.memory.mem",
          Place.WORKSPACE_B: "core.workspace.b.memory.mem"}
VALID = 0                       # no place: the valid bits of the cache, which are kept twice
ARRAYS[VALID] = "core.dma.cache.lookup.valid.mem"
#: Addresses without a register: which word, and which of its bits turns over.
WORD, BIT = 0x60, 0x64


def with_flips(verilog):
    """The core with memories that hold nonsense at first, and a host that can turn bits over."""
    text = verilog
    for name in ("ram_1024x156", "ram_2048x72"):
        begin = text.index(f"module {name}(")
        end = text.index("endmodule", begin)
        text = text[:begin] + text[begin:end].replace("mem[row] = 0", "mem[row] = 7") + text[end:]
    bits = {place: f"{array}[flip_place[27:0]][s_axil_wdata]" for place, array in ARRAYS.items()}
    bits[Place.SETTING] = "registers.settings__read_limit[s_axil_wdata]"
    cases = [f"        {place}: {bit} <= ~{bit};" for place, bit in bits.items()]
    banks = ""
    for n in range(NANO.beat_words):
        bit = f"core.dma.cache.sram.bank_{n}.memory.mem[flip_place[27:2]][s_axil_wdata]"
        banks += f" {n}: {bit} <= ~{bit};"
    cases.append(f"        {Place.CACHE}: case (flip_place[1:0]){banks} endcase")
    lines = "\n".join(cases)
    flips = f"""
  reg [31:0] flip_place;
  always @(posedge clk) if (s_axil_awvalid & s_axil_wvalid & s_axil_awready) begin
    if (s_axil_awaddr == {WORD}) flip_place <= s_axil_wdata;
    if (s_axil_awaddr == {BIT}) case (flip_place[31:28])
{lines}
        default: ;
    endcase
  end
"""
    top = text.index("\nmodule tokamac(")
    end = text.index("\nendmodule", top)
    return text[:end] + flips + text[end:]


@pytest.fixture(scope="module")
def device():
    with SimulatedDevice(NANO, memory_bytes=MEMORY, timing=Timing(latency=20),
                         verilog=with_flips(verilog_of(NANO))) as device:
        device.write_register("watchdog", 5000)
        yield device


def flip(device, where, address, *bits):
    """Turn bits over; the machine refuses the writes, for there are no such registers."""
    for offset, value in ((WORD, rm.place(where, address)), *((BIT, bit) for bit in bits)):
        assert device._library.machine_write(device._machine, offset, value) == 2


def corrected(device):
    """``(words, place)`` of the last run."""
    return device.counters()["corrected"], device.read_register("corrected_place")


def test_memories_are_cleared_behind_a_reset(device):
    """No word is wrong, though none was right; the host, which writes at once, has to wait."""
    device.reset()
    assert device.cycle > NANO.clear_cycles
    device.write_register("watchdog", 5000)
    assert run(device, [isa.encode("scatter", a=0, blocks=NANO.blocks, base=0), *COPY]) == rm.DONE
    assert corrected(device) == (0, 0)
    assert not any(device.read(0, NANO.workspace)[2 * LINE:])
    assert copies(device)


@pytest.mark.parametrize("bit", [0, 31, 38, 39, 155])
def test_a_wrong_bit_of_an_instruction_is_corrected_once(device, bit):
    assert copies(device)
    flip(device, Place.PROGRAM, 3, bit)
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
def test_a_wrong_bit_of_the_workspace_is_corrected_once(device, where, bit):
    right = fill(device)
    flip(device, where, ROW, bit)
    for words in (1, 0):
        device.write(16 * LINE, bytes(128))
        assert run(device, READERS[where]) == rm.DONE
        assert device.read(16 * LINE, 128) == right
        assert corrected(device) == (words, rm.place(where, ROW) if words else 0)


def ends(device, where, address):
    """The last run ended because of wrong bits there."""
    assert device.read_register("status") == rm.DONE | rm.FAULT
    assert device.cause() == rm.Cause.ECC
    assert device.read_register("fault_low") == rm.place(where, address)
    assert device.read_register("fault_high") == 0
    assert corrected(device)[0] == 0


@pytest.mark.parametrize("bits", [(3, 4), (5, 38), (153, 155)])
def test_two_wrong_bits_of_an_instruction_end_the_run_there(device, bits):
    """It is not executed; what is before it is, and the run after the next writing is right."""
    device.program([isa.encode("emit", ra=0), STOP, isa.encode("emit", ra=0), STOP])
    flip(device, Place.PROGRAM, 2, *bits)
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
def test_two_wrong_bits_of_the_workspace_end_the_run(device, where, bits):
    fill(device)
    flip(device, where, ROW, *bits)
    flip(device, where, 40, *bits)      # nobody reads it
    loop = [*READERS[where][:-1], isa.encode("branch", target=len(READERS[where]) - 1)]
    run(device, loop)
    ends(device, where, ROW)
    assert copies(device)
    right = fill(device)
    assert run(device, READERS[where]) == rm.DONE
    assert device.read(16 * LINE, 128) == right


@pytest.mark.parametrize("bit", [0, 17, 31])
def test_a_wrong_bit_of_a_setting_ends_runs_until_it_is_written(device, bit):
    """While one is under way, and before it begins."""
    setting = rm.BY_NAME["read_limit"].offset
    device.program([isa.encode("branch", target=0)])
    device.start()
    assert device.run(500) == rm.RUNNING
    flip(device, Place.SETTING, 0, bit)
    device.run(10_000)
    ends(device, Place.SETTING, setting)
    run(device, COPY)
    ends(device, Place.SETTING, setting)
    assert device.read_register("instructions_low") == 0
    device.write_register("read_limit", MEMORY // rm.PAGE)
    assert copies(device)


READ = isa.encode("stream", stream="d", base=8, beats=16)
FLUSH = isa.encode("flush", d=1)
PIN = isa.encode("pin", base=8, lines=4, place=5, preload=1)
FIRST = 5 * NANO.burst          # word of the SRAM


def reads_twice(device, where, address, *bits):
    """Status, and ``(hits, misses)``, of a program that reads a pinned range twice; bits turn over
    before."""
    words = [PIN, *wait(1)]
    for _ in range(2):
        words += [READ, *wait(len(words) + 1), FLUSH]
    device.program([*words, STOP])
    device.start()
    assert device.run(1500) == rm.RUNNING
    flip(device, where, address, *bits)
    status = device.run(100_000)
    counters = device.counters()
    return status, (counters["hits"], counters["misses"])


@pytest.mark.parametrize("word", [0, 7, 63])
@pytest.mark.parametrize("bit", [0, 31, 38])
def test_a_wrong_bit_of_the_cache_is_corrected_once(device, word, bit):
    assert reads_twice(device, Place.CACHE, FIRST + word, bit) == (rm.DONE, (32, 0))
    assert corrected(device) == (1, rm.place(Place.CACHE, FIRST + word))


@pytest.mark.parametrize("bits", [(0, 1), (31, 32), (37, 38)])
def test_two_wrong_bits_of_the_cache_end_the_run(device, bits):
    """Memory has the words; the next run reads them there."""
    assert reads_twice(device, Place.CACHE, FIRST + 6, *bits)[0] == rm.DONE | rm.FAULT
    ends(device, Place.CACHE, FIRST + 6)
    assert copies(device)
    assert reads_twice(device, Place.CACHE, FIRST + 64, *bits) == (rm.DONE, (32, 0))
    assert corrected(device) == (0, 0)


@pytest.mark.parametrize("row, misses", [(6, 1), (9, 0)])
@pytest.mark.parametrize("bit", [0, 1])
def test_a_wrong_valid_bit_is_a_miss(device, row, bit, misses):
    """Of a line of the range, and of one that nobody has pinned."""
    assert reads_twice(device, VALID, row, bit) == (rm.DONE, (32 - 4 * misses, misses))
    assert corrected(device) == (0, 0)


def test_an_invalid_line_does_not_become_valid_by_a_wrong_bit(device):
    """A range that holds nothing yet."""
    device.program([isa.encode("pin", base=8, lines=4, place=5), *wait(1), READ, *wait(5), STOP])
    device.start()
    assert device.run(1500) == rm.RUNNING
    for row in range(5, 9):
        flip(device, VALID, row, row % 2)
    assert device.run(100_000) == rm.DONE
    counters = device.counters()
    assert (counters["hits"], counters["misses"], counters["fills"]) == (0, 4, 4)


def test_a_model_of_which_bits_turn_over_all_the_time():
    """Other words each time; what it writes is the same bit for bit."""
    compiled = compile_model(MODEL, NANO, [1, 5, 9], 40, format="int8", check=True, pin=("kv",))
    rng = np.random.default_rng(1)
    sizes = {Place.PROGRAM: (len(compiled.words), 156), Place.WORKSPACE_A: (NANO.rows, 72),
             Place.WORKSPACE_B: (NANO.rows, 72), Place.CACHE: (NANO.cache // 4, 39)}
    words = {place: iter(rng.permutation(size)) for place, (size, _) in sizes.items()}
    with SimulatedDevice(NANO, memory_bytes=compiled.memory.bytes,
                         verilog=with_flips(verilog_of(NANO))) as device:
        session = Session(device, compiled)
        verifier = Verifier(device, compiled)
        for _ in session.tokens():
            for place, (size, bits) in sizes.items():
                for address in islice(words[place], size // 60):
                    flip(device, place, int(address), int(rng.integers(bits)))
        assert "bit for bit" in verifier.verify(session.outcome)
    assert session.outcome.counters["corrected"] > 50


def test_a_whole_model_is_the_same_in_the_same_cycles(tmp_path):
    """Bit for bit, and counter for counter."""
    (tmp_path / "ecc.toml").write_text(
        (PRESETS / "nano.toml").read_text() + "ecc = 1\n")
    plain, protected = (check(MODEL, preset, "int8", 8, prompt=[1, 5, 9])
                        for preset in ("nano", str(tmp_path / "ecc.toml")))
    assert protected.tokens == plain.tokens and protected.counters == plain.counters
