"""The bench of matrix products: shapes that fill nothing, and how their matrices are cut."""

from dataclasses import replace

import pytest

from hw.config import load
from sim.device import SimulatedDevice
from sw.bench.gemm import SHAPES, Layout, limit, measure
from sw.compile.assembler import Assembler
from sw.runtime.emulator import Emulator
from sw.runtime.fault import Hazard


NANO, SIM = load("nano"), load("sim")

#: Vectors, outputs, inner size, format.
RAGGED = [(5, 50, 44, "int8"), (2, 13, 100, "int8"), (1, 70, 48, "int8"), (6, 34, 64, "int4"),
          (4, 31, 32, "int4"), (3, 1, 16, "int8")]


@pytest.mark.parametrize("config", [NANO, SIM, replace(SIM, name="test", lanes=32, slices=1)],
                         ids=["nano", "sim", "half rows"])
@pytest.mark.parametrize("shape", RAGGED)
def test_ragged_products_on_the_emulator(shape, config):
    _, correct = measure(Emulator(config, order=1), *shape)
    assert correct


@pytest.mark.parametrize("shape", RAGGED)
def test_ragged_products_on_the_machine(shape):
    with SimulatedDevice(NANO) as device:
        cycles, correct = measure(device, *shape, ahead=shape[0] > 1)
    assert correct and cycles >= limit(NANO, *shape)


def test_the_emulator_refuses_tiles_that_end_within_a_row():
    out = Assembler({}, {})
    out.emit("matmul", halves=2, tiles=2, height=3, tail=16, columns=1, groups=1, stride=2)
    out.emit("stop")
    device = Emulator(SIM)
    device.program(out.words())
    device.start()
    with pytest.raises(Hazard, match="a tile of 6 rows does not fill rows of the workspace"):
        device.run(1000)


@pytest.mark.parametrize("shape, rows, wanted", [
    # Low tiles: little to drain at the end, and the FIFO holds the beats of one.
    ((64, 64, 64), 64, (4, 8, 8)), ((32, 2048, 512), 512, (32, 8, 8)),
    # 50 rows a slice; a last half block of 8 beats would come too early for its accumulators.
    ((100, 100, 100), 100, (4, 12, 14)),
    # One group: beats of scales count.
    ((1, 512, 512), 512, (16, 16, 16)),
])
def test_cuts(shape, rows, wanted):
    layout = Layout(SIM, *shape, "int8")
    assert layout.chunks[0] == (0, rows)
    assert layout.tiles(rows) == wanted


def test_shapes_are_multiplied_for_what_is_wanted():
    """No shape is wanted in fewer cycles than its multiplications take, whatever memory does."""
    for shape in SHAPES:
        assert shape.wanted > shape.vectors * shape.outputs * shape.inner / 256
