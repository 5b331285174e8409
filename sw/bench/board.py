"""Tokens a second of a board, from cycles of its whole system, simulated with its SDRAM."""

import sys
from typing import NamedTuple

from fpga.boards import BOARDS, DEFAULT
from fpga.boards import board as find
from fpga.memory.sdram_chip import CHIPS
from sw.bench.decode import bundled, run
from sw.bench.matrices import useful_bytes
from sw.bench.random_model import random_model, shaped
from sw.bench.row import Row
from sw.compile.compiler import compile_model
from sw.errors import UserError
from sw.models.model import Model
from sw.runtime.emulator import Emulator
from sw.runtime.serial_device import SerialDevice, open_port


__all__ = ["Case", "cases", "measure", "rows"]


#: stories260K of llama2.c.
SMALL = dict(dim=64, hidden=172, n_layers=5, n_heads=8, n_kv_heads=4, vocabulary=512)
FORMAT = "int4"


class Case(NamedTuple):
    """A model, what it begins with, and tokens that it writes."""

    model: Model
    prompt: list
    tokens: int


class LoadedDevice(SerialDevice):
    """A simulated board whose memory is filled and read at once; all else goes over the line."""

    def __init__(self, config, simulated, memory_bytes):
        super().__init__(config, open_port(simulated.port), memory_bytes=memory_bytes)
        self.simulated = simulated

    def write(self, address, data):
        """Put bytes into memory."""
        self._check(address, len(data))
        self.simulated.write(address, data)

    load = write

    def read(self, address, count):
        """Bytes of memory."""
        self._check(address, count)
        return self.simulated.read(address, count)


def cases():
    """A :class:`Case` for each model that is measured."""
    model, prompt = bundled()
    yield Case(model, prompt, 12)
    yield Case(random_model(**SMALL, context=256, name="random 260K"), [1, 2, 3], 8)
    yield Case(shaped("15M"), [1, 2, 3], 1)


def measure(config, chip, clock_hz, case, format=FORMAT):
    """``(outcome, compiled, chip, correct)`` of a case on the simulated system, with a larger chip
    if the model needs one; tokens are held against those of the emulator."""
    from sim.soc import SimulatedBoard

    compiled = compile_model(case.model, config, case.prompt, case.tokens, format=format, chunk=1)
    bytes_ = compiled.memory.bytes
    chip = large_enough(chip, bytes_)
    wanted = run(Emulator(config, memory_bytes=bytes_), compiled)
    with SimulatedBoard(config, chip=chip, sdram_hz=clock_hz) as simulated, \
            LoadedDevice(config, simulated, bytes_) as device:
        outcome = run(device, compiled)
    return outcome, compiled, chip, outcome.tokens == wanted.tokens


def large_enough(chip, count):
    """The chip, or one with as many pins that holds so many bytes."""
    fitting = [name for name in (chip, *CHIPS)
               if CHIPS[name].bytes >= count and CHIPS[name].pins == CHIPS[chip].pins]
    if not fitting:
        raise UserError(f"the model needs {count} bytes of memory; no SDRAM is that large")
    return fitting[0]


def rows(config, board=DEFAULT, models=None):
    """A :class:`Row` for each model on a board with SDRAM.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    board : str
    models : iterable of :class:`Case` or None
    """
    chosen = find(board)
    if not chosen.chip:
        raise UserError(f"{chosen.title} has no SDRAM that the machine uses; boards with one are "
                        f"{', '.join(name for name, one in BOARDS.items() if one.chip)}")
    for case in models or cases():
        print(f"{chosen.name}, {config}: {case.model.name}", file=sys.stderr)
        outcome, compiled, chip, correct = measure(config, chosen.chip, chosen.core_hz, case)
        positions = outcome.positions
        useful = useful_bytes(case.model, compiled.model, positions, len(outcome.tokens))
        cycles = outcome.counters["cycles"] / positions
        yield Row(
            case=f"{case.model.name} {FORMAT}, {positions} tokens", config=config.name,
            cycles=cycles, limit=8 * useful / positions / CHIPS[chip].pins,
            correct=correct,
            command=f"tokamac bench board --config {config.name} --board {chosen.name}",
            more={"board": chosen.name, "memory": CHIPS[chip].bytes,
                  "bytes_a_token": round(useful / positions), "core_hz": chosen.core_hz,
                  "tokens_a_second": chosen.core_hz / cycles})
