"""The cycle model against the simulator, for the products of a layer."""

import pytest

from hw import isa
from hw.config import load
from hw.formats import named
from hw.matmul.timing import Timing as ArrayTiming
from sim.device import SimulatedDevice, Timing
from sw.bench.linear import Data, Layout, measure, program
from sw.bench.matrices import layer_matrices
from sw.cycles import product_cycles, tile


#: Tiles that are ragged, and fewer blocks than the drain likes.
MATRICES = (96, 64), (160, 96), (40, 96), (72, 32)

#: On sim, tiles that are twice as long as the FIFO.
LONG = (64, 512), (96, 512)


@pytest.mark.parametrize("name, format, batch, latency, matrices, off", [
    ("nano", "int8", 1, 60, MATRICES, 0), ("nano", "int8", 7, 60, MATRICES, 0),
    ("nano", "int4", 2, 20, MATRICES, 0), ("nano", "int4", 6, 300, MATRICES, 0),
    ("sim", "int8", 1, 100, MATRICES, 0), ("sim", "int8", 8, 60, MATRICES, 0),
    ("sim", "int8", 24, 60, MATRICES, 0), ("sim", "int4", 3, 300, MATRICES, 0),
    ("sim", "int4", 32, 60, MATRICES, 2),
    ("formats", "nvfp4", 9, 60, MATRICES, 0), ("formats", "mxfp8", 8, 60, MATRICES, 0),
    ("formats", "int16", 16, 60, MATRICES, 0), ("formats", "int8row", 2, 60, MATRICES, 0),
    ("sim", "int8", 16, 60, LONG, 0), ("sim", "int8", 40, 60, LONG, 0),
    ("sim", "int4", 40, 60, LONG, 0),
])
def test_the_model_gives_the_cycles_of_the_simulator(name, format, batch, latency, matrices, off):
    """Its constants are latencies of blocks: one that is off by a cycle shows."""
    config = load(name)
    layout = Layout(config, matrices, batch, format, layers=2)
    data = Data(matrices, layout.vectors, format)
    with SimulatedDevice(config, timing=Timing(latency=latency)) as device:
        cycles, correct = measure(device, layout, data)
    assert correct
    assert product_cycles(config, program(layout), latency) == cycles + off


def test_terms_of_a_row_keep_their_distance():
    """Four rows of 8 bits are 8 beats a block; an accumulator is free after 9."""
    config = load("server")
    loop = ArrayTiming(config).loop
    blocks = tile(5, 4, named("int8"))
    assert loop == 9 and blocks.blocks == (8, 8, 4)
    # The last block has half as many beats as the one before it.
    assert [*blocks.apart(loop)] == [(8, 2, False), (8, 6, False), (4, 1, True)]


def test_wrong_results_are_seen():
    config = load("nano")
    layout = Layout(config, MATRICES, 2, "int8")
    data = Data(MATRICES, 2, "int8")
    data.products[-1][1, 5] += 1
    with SimulatedDevice(config) as device:
        assert not measure(device, layout, data)[1]


def test_what_the_model_does_not_know_is_refused():
    config = load("nano")
    between = [isa.encode("wait", rd=1, source="cycle")]
    for words, message in (
            ([isa.encode("walk", base=0, count=1, head_blocks=1, span=1)], "not walk"),
            ([isa.encode("matmul", halves=2, tiles=1, height=16, tail=16, columns=1, groups=1,
                         format="int8", take0=3)], "without counters"),
            ([isa.encode("matmul", halves=2, tiles=1, height=16, tail=16, columns=1, groups=1,
                         format="mxfp6")], "no gearbox"),
            ([], "wait cycle")):
        with pytest.raises(ValueError, match=message):
            product_cycles(config, [*between, *words])


def test_a_batch_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a batch of 64 needs"):
        Layout(load("nano"), MATRICES, 64, "int8")


def test_layers_of_known_models():
    assert layer_matrices(288, 768, 6, 6) == ((864, 288), (288, 288), (1536, 288), (288, 768))
    assert layer_matrices(576, 1536, 9, 3)[0] == (960, 576)
