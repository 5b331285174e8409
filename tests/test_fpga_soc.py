"""A whole board, simulated down to the bits of its serial line, with the host's own code."""

import os

import numpy as np
import pytest
from typer.testing import CliRunner

from fpga.boards import BOARDS
from fpga.memory.ram import Ram
from fpga.soc import Soc
from hw import isa
from hw import register_map as rm
from hw.config import Config, load
from sim.soc import BAUD, CLOCK_HZ, SimulatedBoard
from sw.bench.board import Case, rows
from sw.cli import application, main
from sw.compile.compiler import compile_model
from sw.errors import UserError
from sw.runtime.serial_device import SerialDevice, open_port
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.models import random_model, save, save_tokenizer


CONFIG = load("nano")
MEMORY = 32 << 20
SMALL = dict(dim=32, hidden=32, n_layers=1, n_heads=1, n_kv_heads=1, vocabulary=32, context=32)


@pytest.fixture
def board():
    with SimulatedBoard(CONFIG) as board:
        yield board


@pytest.fixture
def device(board):
    with SerialDevice(CONFIG, open_port(board.port), memory_bytes=MEMORY) as device:
        yield device


def test_it_says_who_it_is(device):
    identity = device.link.identity
    assert (identity.hash, identity.word, identity.clock_hz, identity.baud) == (
        CONFIG.hash, CONFIG.word_bytes, CLOCK_HZ, BAUD)
    assert device.memory_bytes == MEMORY
    assert device.read_register("identity") == rm.IDENTITY


def test_nonsense_on_the_line_changes_nothing(board):
    """Also before a host begins, and cut in the middle of a frame."""
    rng = np.random.default_rng(1)
    port = open_port(board.port)
    with SerialDevice(CONFIG, port) as device:
        data = rng.bytes(2000)
        device.write(0, data)
        for _ in range(3):
            port.write(rng.bytes(300))
            assert device.read(0, len(data)) == data


def test_machine_and_host_use_memory_at_once(device):
    """The machine copies a block again and again; each finds what it wrote."""
    data, image = np.random.default_rng(2).bytes(128), np.random.default_rng(3).bytes(2000)
    device.write(0, data)
    device.program([
        isa.encode("gather", dst=0, blocks=1, base=0, raise0=1),
        isa.encode("scatter", a=0, blocks=1, base=16, take0=1),
        isa.encode("sync"),
        isa.encode("branch", target=0),
    ])
    device.start()
    for n in range(3):
        device.write(4096 + n * 2500, image)
        assert device.read(4096 + n * 2500, len(image)) == image
        assert device.read(16 * CONFIG.line_bytes, len(data)) == data
        assert device.run(10) & rm.RUNNING
    device.write_register("control", rm.ABORT)
    assert device.run(10_000) & rm.DONE
    assert device.cause() == rm.Cause.ABORTED
    assert device.counters()["written"] > 1000


@pytest.mark.parametrize("loss", [0, 0.0001])
def test_a_model_writes_and_equals_the_reference(loss):
    """Bit for bit, also over a line that loses and changes bytes."""
    compiled = compile_model(random_model(**SMALL), CONFIG, [[1, 5]], 3, check=True)
    with SimulatedBoard(CONFIG, loss=loss) as board, \
            SerialDevice(CONFIG, open_port(board.port),
                         memory_bytes=compiled.memory.bytes) as device:
        session = Session(device, compiled)
        verifier = Verifier(device, compiled)
        assert len(list(session.tokens())) == 3
        assert "equal the reference, bit for bit" in verifier.verify(session.outcome)
        assert session.outcome.counters["w_words"] > 0
        assert (board.spoiled > 0) == (loss > 0)


def test_the_command_line_runs_a_model_on_a_port(board, tmp_path, capsys):
    save(random_model(shared=False, **SMALL | dict(vocabulary=264)), tmp_path / "model.bin")
    save_tokenizer(tmp_path / "tokenizer.bin", 264, [" ", "a", "b", "ab"])
    with pytest.raises(SystemExit) as end:
        main(["run", str(tmp_path / "model.bin"), "--config", "nano", "--prompt", "ab",
              "--tokens", "2", "--check", "--device", f"serial:{board.port}"])
    told = capsys.readouterr()
    assert not end.value.code, told.err
    assert "bit for bit" in told.out


def test_tokens_a_second_are_those_of_the_emulator():
    """Memory is filled at once, and the row says what a token takes."""
    [row] = rows(CONFIG, models=[Case(random_model(**SMALL), [1, 5], 2)])
    assert row.correct and row.limit < row.cycles
    assert row.more["tokens_a_second"] == BOARDS["ulx3s"].core_hz / row.cycles
    with pytest.raises(UserError, match="ECPIX-5 85F has no SDRAM that the machine uses; boards"):
        next(rows(CONFIG, "ecpix5"))


def test_soc_prints_a_port():
    result = CliRunner().invoke(application(), ["soc", "--seconds", "0"])
    assert result.exit_code == 0 and result.stdout.startswith("serial:/dev/")
    assert not os.path.exists(result.stdout.split(":")[1].strip())


def test_frames_must_hold_all_registers():
    with pytest.raises(ValueError, match="block must be at least 256 bytes, so that a frame"):
        Soc(CONFIG, Ram(CONFIG, 4096), clock_hz=CLOCK_HZ, baud=BAUD, block=128)


def test_a_machine_with_several_channels_is_refused():
    config = Config(name="two", channels=2, data_bits=32, slices=1)
    with pytest.raises(ValueError, match="one memory channel; two has 2"):
        Soc(config, Ram(config, 4096), clock_hz=CLOCK_HZ, baud=BAUD)
