"""Runs the cocotb bench of every block, with each of its configurations, on each simulator."""

import pytest

from verif.blocks import blocks, cases


def parameters():
    """One parameter for each case; a bench that cannot be imported gives one that fails."""
    for block in blocks():
        try:
            yield from (pytest.param(case, id=str(case)) for case in cases(block))
        except Exception as error:
            yield pytest.param(error, id=f"{block}-broken")


@pytest.mark.parametrize("case", list(parameters()))
def test_bench(case, tmp_path):
    if isinstance(case, Exception):
        raise case
    assert case.run(run_dir=tmp_path) > 0
