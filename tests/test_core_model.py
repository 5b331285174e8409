"""Whole models on the whole machine, under Verilator, against the whole reference."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hw.config import load as load_config
from sim.build import verilog_of
from sim.device import SimulatedDevice, Timing
from sw.compile.compiler import compile_model
from sw.compile.program import Sampling
from sw.errors import UserError
from sw.models import load
from sw.models.attention import choose_attention
from sw.models.bundled import model_path
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.models import random_model


BUNDLED = load(model_path("bundled"))
STORIES = Path(__file__).parents[2] / "shared" / "data" / "stories260K.bin"

#: "Once upon a time" differs between tokenizers; any tokens do.
PROMPT = [1, 403, 407, 261, 378]


def check(model, preset, format, tokens, *, timing=None, sampling=None, verilog=None, prompt=PROMPT,
          seed=1, **numbers):
    """Outcome of a run whose logits, keys and values equal the reference."""
    config = load_config(preset)
    compiled = compile_model(model, config, prompt, tokens, format=format, check=True,
                             sampling=sampling, **numbers)
    with SimulatedDevice(config, memory_bytes=compiled.memory.bytes, timing=timing,
                         verilog=verilog, seed=seed) as device:
        session = Session(device, compiled)
        verifier = Verifier(device, compiled)
        for _ in session.tokens():
            pass
        assert "bit for bit" in verifier.verify(session.outcome)
    counters = session.outcome.counters
    assert counters["cycles"] == sum(
        counters[name] for name in ("busy", "memory", "dependency", "other"))
    assert counters["other"] <= 0.02 * counters["cycles"]
    assert counters["nan_groups"] == 0
    return session.outcome


@pytest.mark.parametrize("preset, format", [
    (preset, format) for preset in ("nano", "small", "sim", "formats")
    for format in load_config(preset).formats])
def test_bundled_model(preset, format):
    outcome = check(BUNDLED, preset, format, 4)
    assert outcome.positions == len(PROMPT) + 3


@pytest.mark.parametrize("format, numbers", [
    ("int4", dict(activation="e4m3", rule="up", kv="e4m3")),
    ("mxfp8", dict(activation="e4m3", kv="e5m2")),
    ("nvfp4", dict(activation="e4m3", rule="up")),
    ("int16", dict(kv="e5m2", rule="up")),
    ("int4", dict(kv="int4")),
    ("mxfp8", dict(activation="e4m3", kv="int4", rule="up")),
], ids=str)
def test_activations_keys_and_values_of_other_elements(format, numbers):
    check(BUNDLED, "formats", format, 4, **numbers)


@pytest.mark.parametrize("preset, kv", [("sim", "int8"), ("formats", "int4")])
def test_keys_of_several_blocks_and_memory_that_stalls(preset, kv):
    """More than 32 tokens; refresh, random stalls and a slow bus change no bit."""
    timing = Timing(latency=100, refresh_every=780, refresh_for=10, stall_per_256=40, rate_num=2,
                    rate_den=3)
    prompt = PROMPT + [(37 * n) % 400 + 3 for n in range(32)]
    check(BUNDLED, preset, "int4", 4, timing=timing, prompt=prompt, seed=5, kv=kv)


@pytest.mark.parametrize("preset, sizes, timing", [
    ("sim", dict(n_heads=4, n_kv_heads=2), None),
    ("nano", dict(dim=32, n_heads=8, n_kv_heads=1, n_layers=1),
     Timing(latency=30, latency_spread=50, latency_tail=20, banks=4, row_bytes=512, row_miss=30,
            refresh_every=780, refresh_for=10, stall_per_256=40, ar_per_256=60, aw_per_256=60,
            w_per_256=60, r_per_256=60, b_per_256=60, data_first=1, host_per_256=60))],
    ids=["sim", "nano"])
def test_layers_choose_pages(preset, sizes, timing):
    """From no page on: several KV heads, with layers of windows between, or one whose query heads
    choose in two rounds."""
    model = random_model(**sizes, context=200)
    windows = (40, 5, 2) if preset == "sim" else (None, 0, None)
    sees = choose_attention(len(model.layers), *windows, sparse="1/2", page=32)
    outcome = check(replace(model, attention=sees, ends=(2**32 - 1,) * 2), preset, "int8", 150,
                    prompt=[1, 5, 9], timing=timing)
    assert outcome.positions == 152


def test_sampling_draws_the_same_tokens_as_the_reference():
    sampling = Sampling(temperature=1.0, seed=2**40 + 3)
    greedy = check(BUNDLED, "nano", "int4", 4)
    drawn = check(BUNDLED, "nano", "int4", 4, sampling=sampling)
    assert drawn.tokens != greedy.tokens


@pytest.mark.parametrize("preset", ["nano", "sim"])
def test_sizes_that_need_padding(preset):
    """Heads, vocabulary and inner sizes that are no multiples of 32."""
    model = replace(random_model(shared=False), name="odd")
    check(model, preset, "int8", 3, prompt=[1, 5, 9])


@pytest.mark.parametrize("chunk", [1, None])
def test_heads_that_are_not_whole_blocks(chunk):
    """Heads of 48: matrices have no padding; token by token, and in chunks. The last one of three
    ends in the middle of a block."""
    model = random_model(dim=144, n_heads=3, n_kv_heads=3, context=128)
    prompt = [1, *((37 * n) % 290 + 3 for n in range(35))]
    outcome = check(model, "sim", "int4", 3, prompt=prompt, chunk=chunk, timing=Timing(latency=100))
    assert outcome.positions == len(prompt) + 2


@pytest.mark.skipif(not STORIES.exists(), reason=f"{STORIES} is not there")
@pytest.mark.parametrize("format", ["int8", "int4"])
def test_stories260k(format):
    """A model that others trained: hidden size 172 and heads of 8."""
    check(load(STORIES), "sim", format, 6)


@pytest.mark.parametrize("preset, chunk", [("nano", 1), ("nano", None), ("sim", 16)])
def test_sequences_that_share_a_beginning(preset, chunk):
    """Two blocks are in three tables. Texts that end early leave weights that were ordered."""
    model = replace(random_model(dim=32, hidden=32, n_heads=2, n_kv_heads=1, vocabulary=40,
                                 context=200), ends=(40, 40))
    prompts = [[1, *(n * n % 37 + 3 for n in range(66)), *rest]
               for rest in ([9, 4], [5] * 20, [12])]
    options = dict(prompt=prompts, chunk=chunk, sampling=Sampling(temperature=3.0, seed=9))
    whole = check(model, preset, "int8", 6, **options)
    tokens = whole.texts[0].tokens
    last = next(token for n, token in enumerate(tokens) if n and token not in tokens[:n])
    ended = check(replace(model, ends=(last, last)), preset, "int8", 6, **options)
    assert [len(text.tokens) for text in whole.texts] == [6, 6, 6]
    assert ended.texts[0].tokens == tokens[:tokens.index(last)]
    # The shared blocks pass once.
    assert whole.positions == sum(len(prompt) + 5 for prompt in prompts) - 2 * 64


def write(config, compiled, verilog):
    """Tokens that a machine chooses, and whether they were found to be the reference's."""
    with SimulatedDevice(config, memory_bytes=compiled.memory.bytes, verilog=verilog) as device:
        session, verifier = Session(device, compiled), Verifier(device, compiled)
        tokens = list(session.tokens())
        try:
            verifier.verify(session.outcome)
        except UserError:
            return tokens, False
        return tokens, True


def test_the_text_comes_from_the_hardware():
    """One product with the wrong sign changes the text, and the comparison says so."""
    config = load_config("nano")
    compiled = compile_model(BUNDLED, config, PROMPT, 8, format="int8", check=True)
    text = verilog_of(config)
    start = text.index("\nmodule \\cell ")
    product = re.compile(r"= (\$signed\([^;\n]*\) \* \$signed\([^;\n]*\));")
    wrong = text[:start] + product.sub(r"= -(\1);", text[start:], count=1)
    assert wrong != text
    (right_tokens, right), (wrong_tokens, other) = (
        write(config, compiled, verilog) for verilog in (text, wrong))
    assert right and not other
    assert right_tokens != wrong_tokens
