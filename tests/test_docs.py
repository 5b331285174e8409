"""The pages agree with the definitions, and name only what exists."""

import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from sw.cli import application
from sw.cli.docs import PAGES
from verif.blocks import blocks, cases


ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TEXTS = [README, *sorted((ROOT / "docs").glob("*.md"))]


def code(text):
    """What a page shows as code: spans, and indented or fenced lines."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4,}(.*)$", text, re.MULTILINE)
    return [*re.findall(r"`([^`\n]+)`", text), *indented,
            *(line for part in fenced for line in part.splitlines())]


def words_after(program, text):
    """The first word behind ``program`` wherever it stands in code."""
    found = [re.findall(rf"(?:^|[\s/]){program} ([a-z][\w-]*)", part) for part in code(text)]
    return {word for words in found for word in words}


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_those_of_the_definitions(name):
    assert (ROOT / "docs" / name).read_text() == PAGES[name]()


def test_docs_writes_both_pages(tmp_path):
    result = CliRunner().invoke(application(), ["docs", "--out", str(tmp_path)])
    assert result.exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == set(PAGES)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_relative_links_point_to_files(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    for link in links:
        if not re.match(r"[a-z]+:|#", link):
            assert (path.parent / link.partition("#")[0]).exists(), f"{path.name}: {link}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_exist(path):
    text = path.read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words_after("make", text) <= set(targets)
    assert words_after("tokamac", text) <= set(get_command(application()).commands)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_benches_exist(path):
    for block, rest in re.findall(r"make sim BLOCK=(\w+)([^`\n]*)", path.read_text()):
        assert block in blocks()
        for config in re.findall(r"CONFIG=(\w+)", rest):
            assert config in {case.label for case in cases(block)}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_files_that_pages_name_exist(path):
    """Of paths in code with a slash and an ending of the sources."""
    for part in code(path.read_text()):
        for name in re.findall(r"(?<![\w./-])((?:hw|sw|sim|verif|tests|docs|fpga)"
                               r"/[\w/]+\.\w+)", part):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


@pytest.mark.parametrize("page, folder", [("blocks.md", "hw"), ("boards.md", "fpga")])
def test_the_table_of_blocks_names_every_component(page, folder):
    text = (ROOT / "docs" / page).read_text()
    for path in (ROOT / folder).rglob("*.py"):
        for name in re.findall(r"^class (\w+)\(wiring.Component\)", path.read_text(), re.MULTILINE):
            assert f"`{name}(" in text or f"`{name}`" in text, f"{path.relative_to(ROOT)}: {name}"


def test_readme_names_commands():
    """The checks above look at something."""
    text = README.read_text()
    assert "run" in words_after("make", text) and "listing" in words_after("tokamac", text)
