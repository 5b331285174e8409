"""The commands run, listing and isa, most of them on the emulator, as a user types them."""

import json
import re

import pytest

from hw import isa
from sw.cli import main
from tests.models import random_model, save, save_tokenizer


@pytest.fixture
def folder(tmp_path):
    save(random_model(shared=False), tmp_path / "model.bin")
    save_tokenizer(tmp_path / "tokenizer.bin", 300, [" ", "a", "b", "ab", " ab", "aé"])
    return tmp_path


def tokamac(capsys, *arguments):
    """Text of a command that works."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    assert not end.value.code, capsys.readouterr().err
    return capsys.readouterr().out


def refusal(capsys, *arguments):
    """The sentence of a command that is refused."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    text = capsys.readouterr().err
    assert end.value.code == 1 and text.startswith("error: ") and "Traceback" not in text
    return text


def run(folder, *more):
    return ("run", folder / "model.bin", "--device", "emulator", *more)


def test_run_writes_checks_and_reports(folder, capsys):
    report = folder / "report"
    text = tokamac(capsys, *run(folder, "--prompt", "ab ab", "--tokens", 4, "--check",
                                "--report", report))
    assert text.startswith("ab ab")
    assert "logits and" in text and "equal the reference, bit for bit" in text
    assert re.search(r"tokens +3 of the prompt, 4 generated", text)
    figures = json.loads((report / "report.json").read_text())
    assert len(figures["tokens"]) == 4 and figures["positions"] == 6
    assert figures["counters"]["w_words"] > 0 and figures["prompt"][0] == 1
    assert figures["text"].startswith("ab ab")
    assert "| machine | sim: 256 multipliers" in (report / "report.md").read_text()
    assert "append" in (report / "program.txt").read_text()
    assert "classifier" in (report / "memory.txt").read_text()


def test_a_pinned_model_says_what_came_from_the_cache(folder, capsys):
    text = tokamac(capsys, *run(folder, "--tokens", 3, "--pin", "weights,kv", "--check"))
    assert "bit for bit" in text
    assert re.search(r"cache +weights and kv; [\d,]+ bytes a token came from it", text)
    assert "0 of weights" in text
    assert "pin" in tokamac(capsys, "listing", folder / "model.bin", "--pin", "kv",
                            "--tokens", 3)
    assert "what is pinned must be none" in refusal(capsys, *run(folder, "--pin", "all"))


def test_an_empty_prompt_begins_at_the_start(folder, capsys):
    text = tokamac(capsys, *run(folder, "--prompt", "", "--tokens", 2, "--format", "int8"))
    assert "1 of the prompt, 2 generated" in text


def test_number_formats_are_chosen_by_name(folder, capsys):
    (folder / "all.toml").write_text('formats = ["nvfp4"]\nactivations = ["int8", "e4m3"]\n'
                                     'kv = ["int8", "e5m2"]\nslices = 2\n')
    chosen = run(folder, "--config", folder / "all.toml", "--prompt", "ab", "--tokens", 2,
                 "--format", "nvfp4", "--activations", "e4m3", "--scale-rule", "up", "--check")
    text = tokamac(capsys, *chosen, "--kv", "e5m2")
    assert "equal the reference, bit for bit" in text
    assert re.search("activations +e4m3, keys and values e5m2, scale rule up", text)
    assert "no keys and values of type e4m3; it has int8, e5m2" in refusal(
        capsys, *chosen, "--kv", "e4m3")
    assert "activations must be one of int8, e4m3, not 'e5m2'" in refusal(
        capsys, *run(folder, "--activations", "e5m2"))
    assert "scale rule must be floor or up, not 'down'" in refusal(
        capsys, *run(folder, "--scale-rule", "down"))


def test_windows_are_chosen(folder, capsys):
    save(random_model(shared=False, context=200), folder / "model.bin")
    text = tokamac(capsys, *run(folder, "--prompt", "ab", "--tokens", 60, "--check", "--window",
                                20, "--sinks", 2, "--global-every", 2, "--blocks", "0"))
    assert "equal the reference, bit for bit" in text
    assert re.search("attention +the last 20 tokens and the first 2 and 1 blocks in 1 layers; "
                     "all tokens in 1 layers", text)
    listed = tokamac(capsys, "listing", folder / "model.bin", "--tokens", 150,
                     "--window", 20, "--sinks", 2)
    assert "window=20 sinks=2 ring=3" in listed and "tokens=1" in listed
    alone = tokamac(capsys, "listing", folder / "model.bin", "--tokens", 150, "--window", 20,
                    "--sinks", 2, "--chunk", 1)
    assert "window=20 sinks=2 ring=2" in alone and "chunk_layer" not in alone
    assert "a window must have 1 to" in refusal(capsys, *run(folder, "--window", 0))
    assert "0 to 3 sinks" in refusal(capsys, *run(folder, "--window", 3, "--sinks", 4))
    assert "repeats 1" in refusal(capsys, *run(folder, "--window", 3, "--blocks", "1,1"))


def test_a_file_says_how_memory_behaves(folder, capsys):
    """The text stays, whatever memory does; the emulator has no time."""
    file = folder / "memory.toml"
    file.write_text("latency = 5\nr_per_256 = 100\nbanks = 2\nrow_miss = 9\n")
    options = ("--config", "nano", "--format", "int8", "--prompt", "ab", "--tokens", 2)
    wanted = tokamac(capsys, *run(folder, *options)).splitlines()[0]
    simulated = ("run", folder / "model.bin", "--device", "sim", *options, "--check", "--memory")
    text = tokamac(capsys, *simulated, file)
    assert text.splitlines()[0] == wanted and "bit for bit" in text
    file.write_text("latenzy = 5")
    assert "did you mean 'latency'" in refusal(capsys, *simulated, file)
    assert "needs --device sim" in refusal(capsys, *run(folder, *options, "--memory", file))


def test_several_prompts_share_what_they_have_in_common(folder, capsys):
    save(random_model(shared=False, context=200), folder / "model.bin")
    common, report = "ab" * 40, folder / "report"
    asked = ("--prompt", common + "a", "--prompt", common + " ab", "--tokens", 2)
    text = tokamac(capsys, *run(folder, *asked, "--check", "--report", report))
    assert text.startswith(f"[1 of 2]\n{common}a") and f"\n\n[2 of 2]\n{common} ab" in text
    assert "equal the reference, bit for bit" in text
    assert re.search("tokens +8. of 2 prompts, 4 generated", text)
    assert re.search("shared +the first 32 tokens of each prompt; 3 KV blocks a head instead of 4",
                     text)
    figures = json.loads((report / "report.json").read_text())
    assert [s["shared"] for s in figures["sequences"]] == [0, 32]
    assert [len(s["tokens"]) for s in figures["sequences"]] == [2, 2]
    assert figures["text"].startswith("[1 of 2]") and len(figures["tokens"]) == 4
    listed = tokamac(capsys, "listing", folder / "model.bin", *asked)
    assert "entries=2" in listed and "rd=sequence" in listed
    assert "the prompt has 202 tokens" in refusal(
        capsys, *run(folder, "--prompt", "a", "--prompt", "a" * 200))


def test_formats_lists_bits_groups_and_scales(capsys):
    text = tokamac(capsys, "formats")
    for row in (r"int8 +8\.5 +32 +FP16", r"nvfp4 +4\.5 +16 +E4M3", r"int4g128 +4\.125 +128 +FP16",
                r"int16 +16 +row +BF16"):
        assert re.search(row, text), row
    assert "e5m2" in text


def test_a_seed_chooses_a_text(folder, capsys):
    texts = [tokamac(capsys, *run(folder, "--prompt", "ab", "--tokens", 4, "--temperature", 1.5,
                                  "--seed", seed)).split("\nmodel ")[0] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_mistakes_are_explained(folder, capsys):
    assert "does not exist" in refusal(capsys, "run", folder / "other.bin")
    assert "not 'int3'" in refusal(capsys, *run(folder, "--format", "int3"))
    assert "there is no preset 'simm'" in refusal(capsys, *run(folder, "--config", "simm"))
    assert "leaves room for" in refusal(capsys, *run(folder, "--tokens", 1000))
    assert "the prompt has 102 tokens" in refusal(capsys, *run(folder, "--prompt", "a" * 100))
    assert "must be zero or positive" in refusal(capsys, *run(folder, "--temperature", "nan"))
    assert "the seed must be" in refusal(capsys, *run(folder, "--seed", 2**64))
    assert "must be sim, emulator or serial:PORT" in refusal(
        capsys, "run", folder / "model.bin", "--device", "gpu", "--tokens", 2)
    (folder / "tokenizer.bin").unlink()
    assert "there is no tokenizer beside" in refusal(capsys, *run(folder))


def test_listing_shows_memory_and_program(folder, capsys):
    text = tokamac(capsys, "listing", folder / "model.bin", "--tokens", 8, "--config", "nano")
    assert "region" in text and "layer:" in text and "base=embedding offset=row" in text
    assert "base=logits" not in text
    assert "base=logits" in tokamac(
        capsys, "listing", folder / "model.bin", "--tokens", 8, "--check")


def test_isa_prints_every_field(capsys):
    text = tokamac(capsys, "isa")
    for instruction in isa.INSTRUCTIONS:
        assert f"\n{instruction.name} ({instruction.opcode}): " in text
        for field in instruction.fields:
            assert field.doc in text
    assert "0 = eq, 1 = ne, 2 = lt, 3 = ge" in text
