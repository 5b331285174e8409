"""Several sequences in one run: their tables, what they share, and that nobody notices."""

from dataclasses import replace

import numpy as np
import pytest

from hw import isa
from hw.config import load as load_config
from sw.compile import paging
from sw.compile.compiler import compile_model
from sw.compile.layers import quantise_model
from sw.compile.program import Sampling
from sw.errors import UserError
from sw.models.attention import choose_attention
from sw.runtime.emulator import Emulator
from sw.runtime.session import Session
from tests.models import random_model
from tests.test_sw_emulator import run


NANO, SIM = (load_config(name) for name in ("nano", "sim"))
SMALL = dict(dim=32, hidden=32, n_heads=2, n_kv_heads=1, n_layers=2, vocabulary=40, context=200)
LARGE = dict(program=4096, workspace=2**20, act_blocks=4096)

#: name -> (model, configuration, what layers see, options, tokens of the common beginning and of
#: each prompt behind it)
CASES = {
    "three": (dict(n_layers=1), NANO, (), dict(chunk=1), (37, [3, 20, 1])),
    "nothing in common": (dict(n_layers=1), NANO, (), dict(chunk=1), (5, [30, 2])),
    "one prompt is the beginning": (dict(), SIM, (), dict(chunk=1), (33, [0, 1, 34])),
    "a beginning of whole blocks": (dict(n_layers=1), SIM, (), dict(chunk=1), (64, [0, 0])),
    "chunks of two parts": (dict(n_kv_heads=2), replace(SIM, **LARGE), (),
                            dict(chunk=16), (36, [20, 2, 17])),
    "chunks of one part": (dict(), replace(NANO, queue=2, program=1024), (), dict(chunk=3),
                           (33, [10, 4])),
    "windows": (dict(), NANO, (20, 3, 2), dict(chunk=1), (97, [2, 3])),
    "windows and chunks": (dict(), replace(SIM, **LARGE), (20, 3, 2), dict(chunk=16),
                           (97, [20, 3])),
    "a list of blocks": (dict(n_layers=1), NANO, (20, 0, None, "0,2"), {}, (97, [3, 5])),
    "logits by turns": (dict(vocabulary=2900, n_layers=1), replace(NANO, workspace=2**12), (),
                        dict(chunk=1), (33, [2, 4])),
}

#: Texts of such a model would repeat one token.
DRAWN = Sampling(temperature=3.0, seed=9)


def make(case):
    """The quantised model, which ends no text, and the prompts of a case."""
    sizes, config, sees, _, (common, behind) = CASES[case]
    model = random_model(**{**SMALL, **sizes})
    if sees:
        model = replace(model, attention=choose_attention(len(model.layers), *sees))
    model = replace(quantise_model(model, "int8", config.slices), ends=(2**32 - 2,) * 2)
    rng = np.random.default_rng(common)
    first = rng.integers(3, 40, common).tolist()
    return model, [[*first, *rng.integers(3, 40, size).tolist()] for size in behind]


def compiled_for(case, tokens=4, **more):
    model, prompts = make(case)
    _, config, _, options, _ = CASES[case]
    return compile_model(model, config, prompts, tokens,
                         **{"sampling": DRAWN, **options, **more})


def emulated(compiled, order=None):
    device = Emulator(compiled.config, memory_bytes=compiled.memory.bytes, order=order)
    return run(compiled, device), device


@pytest.mark.parametrize("case", CASES)
def test_every_sequence_equals_the_reference(case):
    compiled = compiled_for(case, check=True)
    outcome, device = emulated(compiled, order=5)
    assert len(outcome.texts) == len(compiled.sequences)
    assert all(len(text.tokens) == 4 for text in outcome.texts)
    assert not (device.sums or device.owed or device.attending or device.choices or device.d_fifo
                or device.w_ready or device.loaded or device.tokens)


@pytest.mark.parametrize("case", ["three", "chunks of two parts", "chunks of one part"])
def test_a_text_is_what_it_is_alone(case):
    """With sharing, without, and in a run of its own."""
    model, prompts = make(case)
    _, config, _, options, _ = CASES[case]
    wanted = [emulated(compile_model(model, config, prompt, 4, sampling=DRAWN, **options))[0].tokens
              for prompt in prompts]
    for share, order in ((True, 1), (True, 2), (False, None)):
        outcome, _ = emulated(compiled_for(case, share=share), order)
        assert [text.tokens for text in outcome.texts] == wanted


@pytest.mark.parametrize("case", ["three", "chunks of two parts", "chunks of one part"])
@pytest.mark.parametrize("check", [False, True])
def test_texts_may_end_early(case, check):
    """Weights that were ordered ahead are used by the next sequence, or discarded."""
    outcome, _ = emulated(compiled_for(case, 8))
    model, prompts = make(case)
    _, config, _, options, _ = CASES[case]
    tokens = outcome.texts[0].tokens
    last = next(token for n, token in enumerate(tokens) if n and token not in tokens[:n])
    ended = replace(model, ends=(last, outcome.texts[1].tokens[4]))
    compiled = compile_model(ended, config, prompts, 8, check=check, sampling=DRAWN, **options)
    again, _ = emulated(compiled, 3)
    for before, after in zip(outcome.texts, again.texts):
        end = next((n for n, token in enumerate(before.tokens) if token in ended.ends), 8)
        assert after.tokens == before.tokens[:end]
    assert 0 < len(again.texts[0].tokens) < 8


# What is shared

def test_the_common_beginning_is_stored_and_computed_once():
    shared, alone = (compiled_for("three", share=share) for share in (True, False))
    assert [s.start for s in shared.sequences] == [0, 32, 32]
    assert [s.start for s in alone.sequences] == [0, 0, 0]
    # Prompts of 40, 57 and 38 tokens, and three positions more.
    assert shared.task.pool.tables == ((0, 1), (0, 2), (0, 3))
    assert alone.task.pool.tables == ((0, 1), (2, 3), (4, 5))
    block = NANO.kv_lines(1) * NANO.line_bytes
    assert shared.memory.regions["kv"].size == 4 * block
    assert alone.memory.regions["kv"].size == 6 * block
    with_sharing, without = (emulated(compiled)[0] for compiled in (shared, alone))
    assert with_sharing.positions == 43 + (60 - 32) + (41 - 32)
    assert without.positions == 43 + 60 + 41
    assert with_sharing.counters["w_words"] < 0.65 * without.counters["w_words"]


def test_tables_are_in_memory_last_sequence_first():
    compiled = compiled_for("three")
    region = compiled.memory.regions["tables"]
    rows = np.frombuffer(compiled.memory.contents["tables"], "<u4").reshape(3, -1)
    assert rows[:, :2].tolist() == [[0, 3], [0, 2], [0, 1]]
    assert region.lines == 3 and not rows[:, 2:].any()
    entries = [isa.decode(word)[1]["entries"] for word in compiled.words
               if isa.decode(word)[0] == "paging"]
    assert entries == [2]


def test_tables_may_name_any_blocks(monkeypatch):
    """The pool in another order gives the same texts."""
    wanted, _ = emulated(compiled_for("three"))

    def reversed_pool(sequences, block_lines):
        pool = paging.make_pool(sequences, block_lines)
        return paging.Pool(pool.blocks, tuple(tuple(pool.blocks - 1 - block for block in table)
                                              for table in pool.tables))

    monkeypatch.setattr("sw.compile.compiler.make_pool", reversed_pool)
    compiled = compiled_for("three", check=True)
    assert compiled.task.pool.tables == ((3, 2), (3, 1), (3, 0))
    outcome, _ = emulated(compiled, order=4)
    assert [text.tokens for text in outcome.texts] == [text.tokens for text in wanted.texts]


def test_windows_have_no_rings():
    compiled = compiled_for("windows")
    assert [layer.ring for layer in compiled.kv] == [0, 0]
    assert {layer.head_lines for layer in compiled.kv} == {
        compiled.task.pool.blocks * NANO.kv_lines(1)}


@pytest.mark.parametrize("prompts, common", [
    ([[1] * 65, [1] * 70], 64), ([[1] * 64, [1] * 70], 32), ([[1] * 33, [1] * 33], 32),
    ([[1] * 32, [1] * 32], 0), ([[1] * 100, [1] * 40 + [2] * 60], 32),
    ([[1] * 100, [1] * 100, [2] * 100], 0), ([[1], [1] * 100], 0)], ids=str)
def test_common_blocks_are_whole_and_leave_a_token(prompts, common):
    assert paging.common_tokens([prompt[:] for prompt in prompts]) == common


def test_tokens_come_with_the_end_of_each_sequence():
    compiled = compiled_for("nothing in common", 2)
    device = Emulator(NANO, memory_bytes=compiled.memory.bytes)
    values = list(Session(device, compiled).tokens())
    assert [value is None for value in values] == [False, False, True] * 2


def test_one_prompt_has_no_table():
    model, prompts = make("three")
    listed, plain = (compile_model(model, NANO, prompt, 4) for prompt in (prompts[:1], prompts[0]))
    assert listed.words == plain.words and plain.task.pool is None
    assert "paging" not in plain.listing()


# What cannot be

def test_impossible_sequences_are_refused(monkeypatch):
    model, prompts = make("three")
    for wrong in ([], [[]], [prompts[0], []]):
        with pytest.raises(UserError, match="the prompt has no tokens"):
            compile_model(model, NANO, wrong, 4)
    with pytest.raises(UserError, match="the prompt has 201 tokens, but random sees at most 200"):
        compile_model(model, NANO, [prompts[0], [1] * 201], 4)
    monkeypatch.setattr(paging, "MOST_ENTRIES", 1)
    with pytest.raises(UserError, match="a sequence of 2 blocks of 32 tokens is longer than a "
                                        "block table, which has 1 entries at most"):
        compile_model(model, NANO, prompts, 4)
    monkeypatch.undo()
    monkeypatch.setattr(paging, "MOST_LINES", 3 * NANO.kv_lines(1))
    with pytest.raises(UserError, match="3 sequences need 4 KV blocks a head; instructions reach "
                                        "3"):
        compile_model(model, NANO, prompts, 4)


def test_layers_that_choose_pages_take_one_prompt():
    model = replace(random_model(**SMALL), attention=choose_attention(
        2, None, 0, None, None, "1/2", 32))
    with pytest.raises(UserError, match="layers that choose pages take one prompt, not 2: bounds"):
        compile_model(model, NANO, [[1] * 40, [1] * 40], 4)
    assert compile_model(model, NANO, [[1] * 40], 4).task.pool is None
