"""The sweep over widths of memory and batches, on a small machine, and its picture."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hw.config import load
from sw.bench import width
from sw.bench.random_model import SHAPES
from sw.bench.width_plot import check, draw, limit
from sw.cli import application
from sw.cli.bench import ARRAYS
from sw.errors import UserError


#: Sizes of a layer that nano has room for.
SHAPE = dict(dim=64, hidden=96, n_heads=2, n_kv_heads=1)


@pytest.fixture(scope="module")
def small():
    """An array for which each point takes no second."""
    return replace(load("nano"), name="narrow", cache=0, workspace=32768, w_fifo=4096)


def load_array(number):
    return load(str(Path(ARRAYS[0]).with_name(f"array{number}.toml")))


def test_a_sweep_has_points_of_memory_and_of_the_array(small):
    found = list(width.rows(small, (4, 8), (1, 16), shape=SHAPE, cycles=5000))
    assert [row.more["source"] for row in found] == 4 * ["RTL"]
    assert all(row.correct for row in found)
    assert all(abs(row.more["model_error"]) < 0.01 for row in found)
    assert [row.more["bound"] for row in found] == ["memory", "array", "memory", "array"]
    # 32 multipliers, 17 bytes for 16 weights.
    assert [row.more["knee"] for row in found] == pytest.approx(2 * [8.5] + 2 * [4.25])
    # One sequence is twice as fast with twice the width, 16 are not.
    speed = [row.more["tokens_a_megacycle"] for row in found]
    assert speed[2] / speed[0] == pytest.approx(2, rel=1 - width.WANTED)
    assert speed[3] / speed[1] == pytest.approx(1, rel=1 - width.WANTED)
    assert all(row.fraction == row.more["reached"] > width.WANTED for row in found)


def test_large_machines_are_modelled_and_say_so():
    config = load_array(8192)
    row, = width.rows(config, (512,), (64,), cycles=1)
    assert row.cycles is None and row.fraction is None
    assert row.more["source"] == "model" and "model_error" not in row.more
    assert row.more["knee"] == pytest.approx(8192 * 17 / 16 / 512)
    assert row.limit < row.more["modelled"]


def test_batches_without_room_are_left_out(capsys):
    assert not [*width.rows(load("nano"), (8,), (64,), shape=SHAPE)]
    assert "left out: a batch of 64 needs" in capsys.readouterr().err


@pytest.mark.parametrize("number, most", [(256, 64), (1024, 512), (2048, 128), (8192, 512)])
def test_arrays_take_all_widths_up_to_a_beat(number, most):
    config = load_array(number)
    assert width.multipliers(config) == number and config.beat_bytes == most
    for each in width.WIDTHS:
        if each <= most:
            assert width.at_width(config, each).word_bytes == each


def test_pictures_need_a_folder_and_a_known_ending(tmp_path):
    for path, message in ((tmp_path / "a.txt", "ends in"), (tmp_path / "no" / "a.svg", "folder")):
        with pytest.raises(UserError, match=message):
            check(path)


def test_curves_bend_at_the_knee():
    """Memory of 4 bytes makes 10 tokens of 8 sequences; that of 16 bytes is twice the knee."""
    points = [dict(width=4, batch=8, knee=16, possible=10), dict(width=16, batch=8, knee=4,
                                                                 possible=20)]
    assert limit(points) == ([4, 8, 16], [10, 20, 20])
    assert limit(points[1:]) == ([16, 16, 16], [20, 20, 20])


def test_only_widths_are_drawn(tmp_path):
    result = CliRunner().invoke(application(), ["bench", "gemm", "--plot", str(tmp_path / "a.svg")])
    assert isinstance(result.exception, UserError)
    assert "--plot" in str(result.exception)


def test_a_picture_is_drawn(tmp_path, small):
    pytest.importorskip("matplotlib")
    # Batches that use a part of the columns only are not simulated.
    modelled = [*width.rows(replace(small, columns=8), (8,), (2, 4), shape=SHAPE, cycles=1)]
    assert all(row.more["source"] == "model" for row in modelled)
    draw(modelled, tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()


@pytest.mark.nightly
def test_the_whole_sweep_of_the_smallest_array():
    for row in width.rows(load_array(256)):
        assert row.correct and abs(row.more.get("model_error", 0)) < 0.01
        assert row.more["reached"] >= width.WANTED, row.case


@pytest.mark.nightly
def test_beats_of_512_bytes_are_predicted_too():
    """Slices as the largest modelled array has them, and tiles of two rows."""
    for row in width.rows(load_array(1024), (512,), (1, 2, 8), shape=SHAPES["135M"], cycles=1):
        assert row.correct and abs(row.more["model_error"]) < 0.01
