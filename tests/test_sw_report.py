"""The table of a run."""

import json

from hw import register_map as rm
from hw.config import load as load_config
from sw.compile.compiler import compile_model
from sw.report import Report
from sw.runtime.session import Outcome, Text
from tests.models import random_model


def report(cycles, nans=0):
    compiled = compile_model(random_model(), load_config("sim"), [1, 5], 3)
    counters = dict.fromkeys((name for name, _ in rm.COUNTERS), 0)
    counters |= {"cycles": cycles, "busy": cycles // 2, "memory": cycles // 4,
                 "dependency": cycles // 8, "other": cycles // 8, "w_words": 3000,
                 "d_words": 400, "g_words": 100, "written": 20, "instructions": 800,
                 "nan_groups": nans}
    texts = Text(tokens=[7, 8, 9], positions=4),
    outcome = Outcome(texts=texts, positions=4, counters=counters)
    return Report(compiled=compiled, outcome=outcome, seconds=2.0, text="a story", device="sim")


def test_shares_are_of_all_cycles():
    rows = dict(report(8000).rows())
    assert rows["cycles a token"] == "2,000"
    assert rows["  array busy"] == "50.0 %" and rows["  waits for memory"] == "25.0 %"
    assert rows["  waits for a unit"] == rows["  has nothing to do"] == "12.5 %"
    assert rows["bandwidth used"] == "44.0 %"
    assert rows["bytes a token"] == "12,000 of weights, 1,600 of keys and values"
    assert rows["instructions a token"] == "200"
    assert rows["speed here"] == "2.00 tokens/s, 4,000 cycles/s"
    assert rows["tokens"] == "2 of the prompt, 3 generated"


def test_without_cycles_none_are_shown():
    rows = dict(report(0).rows())
    assert "cycles a token" not in rows and "bandwidth used" not in rows
    assert rows["speed here"] == "2.00 tokens/s"


def test_nans_are_shown_if_there_are_any():
    assert "not a number" not in dict(report(0).rows())
    assert dict(report(0, nans=1234).rows())["not a number"].startswith("1,234 groups were")


def test_files_hold_the_same_figures(tmp_path):
    report(8000).write(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    figures = json.loads((folder / "report.json").read_text())
    assert figures["counters"]["cycles"] == 8000 and figures["tokens"] == [7, 8, 9]
    assert "| bandwidth used | 44.0 % |" in (folder / "report.md").read_text()
    assert "a story" in (folder / "report.md").read_text()
    assert len((folder / "program.txt").read_text().splitlines()) > 50
