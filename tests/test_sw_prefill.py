"""Prompts in chunks: on the emulator, in any order of steps, to the bits of token by token."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from hw import isa
from hw.config import load as load_config
from sw.compile.chunks import chunk_plans
from sw.compile.compiler import compile_model
from sw.compile.layers import quantise_model
from sw.compile.plan import make_plan
from sw.compile.writer import COUNTERS
from sw.errors import UserError
from sw.models.attention import choose_attention
from sw.runtime.emulator import Emulator
from tests.models import random_model
from tests.programs import shows_a_race, without_take
from tests.test_sw_emulator import run
from verif.reference.pattern import blocks_read
from verif.reference.tape import tape_beats


NANO, SIM, WIDE, SERVER = (replace(load_config(name), program=1024)
                           for name in ("nano", "sim", "wide", "server"))
LARGE = dict(program=4096, workspace=2**20, act_blocks=4096)
TINY = dict(dim=32, hidden=32, n_heads=2, n_kv_heads=1, vocabulary=40)

#: name -> (model, configuration, options, tokens of the prompt, window..., shape of the chunks, or
#: shapes of all but the last and of that)
CASES = {
    "two parts": (dict(), SIM, dict(chunk=16), 33, (), (8, 1, 2)),
    "groups of columns": (dict(n_layers=2), SIM, dict(), 33, (), (8, 2, 2)),
    "a last chunk that is filled up": (TINY, NANO, dict(chunk=4), 12, (), (2, 1, 2)),
    "pieces of gate and up": (
        dict(n_layers=2, hidden=384), SIM, dict(chunk=32), 33, (), (8, 2, 2)),
    "a ring of pieces": (
        dict(n_layers=2, hidden=384, dim=128), SIM, dict(chunk=48), 49, (), (8, 3, 2)),
    "a last chunk of another shape": (
        dict(n_layers=2), SIM, dict(chunk=32), 46, (), ((8, 2, 2), (7, 1, 2))),
    "a last chunk of one part": (
        {**TINY, "n_layers": 1}, NANO, dict(chunk=4), 15, (), ((2, 1, 2), (2, 1, 1))),
    "more attends than sums have room": (
        dict(n_heads=8, n_kv_heads=4, dim=128, hidden=256, n_layers=2),
        replace(SIM, **LARGE, queue=16), dict(chunk=32), 33, (), (8, 2, 2)),
    "a KV head for each query": (
        dict(n_heads=8, n_kv_heads=8, dim=128, hidden=128, n_layers=2), SIM, dict(), 50, (),
        (8, 3, 1)),
    "a short queue": (
        dict(n_heads=8, n_kv_heads=2, dim=128, hidden=128, n_layers=2), replace(SIM, queue=2),
        dict(), 50, (), (8, 4, 1)),
    "one part": (TINY, replace(NANO, queue=2), dict(chunk=3), 10, (), (2, 1, 1)),
    "heads of their own": (
        {**TINY, "n_kv_heads": 2}, replace(NANO, **LARGE), dict(chunk=8), 20, (), (2, 2, 2)),
    "a window, sinks, a dense layer": (
        dict(n_kv_heads=1), replace(SIM, **LARGE), dict(chunk=16), 100, (20, 3, 2), (8, 1, 2)),
    "heads of two blocks": (
        dict(dim=80, n_heads=2, n_kv_heads=1, n_layers=2), replace(SIM, **LARGE),
        dict(chunk=16), 33, (), (8, 1, 2)),
    "a matrix that cannot be cut": (
        dict(n_layers=2), replace(SIM, **LARGE, formats=("nvfp4",)),
        dict(chunk=16, format="nvfp4"), 20, (), (8, 2, 1)),
    "zeros behind the queries": (
        dict(dim=60, hidden=44, n_heads=3, n_kv_heads=1, n_layers=2), replace(WIDE, **LARGE),
        dict(chunk=20, format="int4"), 22, (), (10, 1, 2)),
    "rounds of heads": (
        dict(n_kv_heads=1, n_layers=2), replace(SIM, **LARGE, kv_groups=1),
        dict(chunk=16, format="int4"), 18, (), (8, 1, 2)),
    "tiles of several heads": (
        dict(n_layers=2), replace(SERVER, **LARGE), dict(chunk=32), 34, (), (8, 2, 2)),
}


def shapes_of(chunks):
    """Shapes as cases have them."""
    shapes = [(plan.columns, plan.groups, len(plan.parts)) for plan in chunks.plans]
    return shapes[0] if len(shapes) == 1 else tuple(shapes)


def build(case, order=None, tokens=2, **more):
    sizes, config, options, prompt, sees, shapes = CASES[case]
    model = random_model(**{"context": 128, **sizes})
    if sees:
        model = replace(model, attention=choose_attention(len(model.layers), *sees))
    text = [1, *np.random.default_rng(prompt).integers(3, model.vocabulary, prompt - 1).tolist()]

    def of_shapes(*args):
        return [chunks for chunks in chunk_plans(*args) if shapes_of(chunks) == shapes]

    with mock.patch("sw.compile.compiler.chunk_plans", of_shapes):
        compiled = compile_model(model, config, text, tokens,
                                 **{"format": "int8", **options, **more})
    return compiled, Emulator(config, memory_bytes=compiled.memory.bytes, order=order)


@pytest.mark.parametrize("case", CASES)
def test_chunks_give_the_bits_of_the_reference(case):
    compiled, device = build(case, order=7, check=True)
    chunk, prompt = compiled.chunk, CASES[case][3]
    assert (chunk.pieces > 1) == ("pieces" in case or "sums" in case)
    assert (chunk.ring < chunk.pieces) == ("ring" in case)
    assert shapes_of(compiled.chunks) == CASES[case][5]
    assert compiled.task.passed >= prompt - 1 - chunk.chunk // 4
    # Keys and values of all positions, and logits of those that do not pass in chunks.
    assert run(compiled, device).positions == prompt + 1
    assert not (device.sums or device.owed or device.attending or device.d_fifo or device.w_ready)


@pytest.mark.parametrize("case", ["two parts", "a last chunk that is filled up"])
def test_the_text_is_that_of_token_by_token(case):
    texts = [run(*build(case, order=order, tokens=6, **options)).tokens
             for order, options in ((None, {}), (1, {}), (None, dict(chunk=1)))]
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("order", range(5))
def test_any_order_of_steps_gives_the_same_bits(order):
    run(*build("a last chunk that is filled up", order=order, check=True))


def test_a_chunk_reads_keys_values_and_weights_once():
    compiled, device = build("groups of columns")
    positions = run(compiled, device).positions
    config, task, model = compiled.config, compiled.task, compiled.model
    assert task.passed == 32 and task.chunks == (1,)
    counters, lines = device.counters(), compiled.memory.regions
    # Each step of eight tokens reads each block once, but in the last layer; then tokens one by
    # one.
    blocks = sum(len(blocks_read(end, 8)) for end in (8, 16, 24, 32))
    blocks += 2 * sum(len(blocks_read(n + 1)) for n in range(32, positions))
    size = config.kv_beats(1) * config.beat_bytes * model.n_kv_heads
    assert counters["d_words"] * config.word_bytes == blocks * size
    # Both parts, of the last layer only keys and values, and each token alone; the output matrix
    # when a token is to be chosen.
    keys = tape_beats((2 * 32 * model.kv_blocks, 64), "int8", 2) * config.beat_bytes
    size = lines["layers"].size
    assert counters["w_words"] * config.word_bytes == (
        size + 2 * keys + (positions - 32) * size + 2 * lines["classifier"].size)


def test_the_last_token_passes_through_the_last_layer_once_more():
    compiled, device = build("a last chunk of another shape")
    positions = run(compiled, device).positions
    config, task, model = compiled.config, compiled.task, compiled.model
    assert (task.chunks, task.whole, task.passed, task.filled) == ((1, 1), 32, 45, 46)
    assert positions == 47
    keys = tape_beats((2 * 32 * model.kv_blocks, 64), "int8", 2) * config.beat_bytes
    layer = compiled.memory.regions["layers"].size // 2
    # Two chunks; the last layer of the last token; the token behind the prompt.
    assert device.counters()["w_words"] * config.word_bytes == (
        4 * (layer + keys) + layer + 2 * layer + 2 * compiled.memory.regions["classifier"].size)


def test_counters_are_balanced_after_chunks():
    compiled, device = build("two parts")
    run(compiled, device)
    dim = compiled.model.dim_blocks
    names = compiled.assembler.counters
    left = {name: device.semaphores[number] for name, number in names.items()
            if device.semaphores[number]}
    wanted = {"gain_ready": 2 * dim, "x_free": dim}
    if compiled.config.forward:
        wanted["appended"] = compiled.model.n_kv_heads
    assert left == wanted


#: Takes of a chunk without which something is used too early: (instruction, occurrence, field).
NEEDED = [("norm", 0, "take0"), ("matmul", 0, "take0"), ("rope", 0, "take0"),
          ("rope", 2, "take0"), ("append", 0, "take0"), ("walk", 0, "take0"),
          ("attend", 0, "take0"), ("gate", 0, "take1"), ("quantise", 3, "take0"),
          ("pick", 2, "take0")]


#: The same: (case, instruction, field, counter, how many of them).
NEEDED_OF = [("a ring of pieces", "matmul", "take0", "picked", 6),
             ("two parts", "gather", "take0", "done", 1)]


@pytest.mark.parametrize("case, name, field, counter, number", NEEDED_OF, ids=str)
def test_counters_between_pieces_and_chunks_are_needed(case, name, field, counter, number):
    compiled, _ = build(case, check=True)
    all_of_name = [values for found, values in map(isa.decode, compiled.words) if found == name]
    places = [n for n, values in enumerate(all_of_name) if values[field] == COUNTERS[counter]]
    assert len(places) == number
    assert shows_a_race(without_take(compiled, name, places[0], field), run)


@pytest.mark.parametrize("name, occurrence, field", NEEDED, ids=str)
def test_counters_of_chunks_are_needed(name, occurrence, field):
    """Without one take, some order of steps shows a race."""
    compiled, _ = build("a last chunk that is filled up", check=True)
    assert shows_a_race(without_take(compiled, name, occurrence, field), run)


# Choice of a chunk

def plans(model, config, prompt=100, most=None):
    found = chunk_plans(model, config, make_plan(model, config), prompt, most)
    return list(dict.fromkeys(plan for chunks in found for plan in chunks.plans))


@pytest.mark.parametrize("config", [NANO, SIM, replace(WIDE, workspace=2**22)], ids=str)
def test_parts_do_not_overlap(config):
    model = quantise_model(random_model(dim=60, hidden=90, n_heads=3, n_kv_heads=1, context=128),
                           "int4", config.slices)
    plan = make_plan(model, config)
    dim, table, tokens = model.dim_blocks, model.table_blocks, None
    for chunk in plans(model, config):
        tokens, taken, acts = chunk.tokens, [*range(plan.rows)], []
        produced = 2 * model.kv_rows + model.q_rows + plan.extra
        for part in chunk.parts:
            piece = 2 * model.hidden_blocks // chunk.pieces
            shared = max(part.q - part.h + tokens * model.q_blocks if chunk.split
                         else tokens * (produced + model.q_blocks), tokens * chunk.ring * piece,
                         part.n + tokens * dim - part.h)
            for first, blocks in ((part.x, tokens * dim), (part.h, shared),
                                  (part.rope_k, tokens * table),
                                  (part.rope_q, tokens * table)):
                taken += range(first, first + blocks)
            # What products write while vectors of the last group are still read.
            first = 2 * model.kv_rows if chunk.split else produced
            assert part.n >= part.kv + tokens * first
            assert part.q >= part.o + tokens * model.q_blocks or not chunk.split
            early = tokens if chunk.pieces > 1 else tokens - chunk.columns
            assert part.n >= part.h + early * 2 * model.hidden_blocks // chunk.pieces
            acts += range(part.vector, part.vector + chunk.groups * max(dim, model.q_rows))
            acts += range(part.inner, part.inner + chunk.groups * model.hidden_blocks)
            assert part.query == part.inner
        acts += range(chunk.probability, chunk.probability
                      + (config.keys_ahead + 1) * chunk.heads)
        assert len(set(taken)) == len(taken) and max(taken) < config.blocks
        assert len(set(acts)) == len(acts) and max(acts) < config.act_blocks
    assert tokens


def test_two_parts_are_preferred_and_bounds_are_kept():
    model = quantise_model(random_model(context=128), "int8", 2)
    assert len(plans(model, SIM)[0].parts) == 2
    assert all(chunk.chunk <= 20 for chunk in plans(model, SIM, most=20))
    assert all(chunk.chunk <= 8 for chunk in plans(model, SIM, prompt=9))
    assert plans(model, SIM, prompt=1) == plans(model, SIM, most=1) == []
    # A tile that does not fit the replay buffer is used by one group of columns.
    assert max(chunk.groups for chunk in plans(model, replace(SIM, replay=1024))) == 1


def test_program_memory_bounds_a_chunk():
    model = random_model(context=128)
    sizes = [compile_model(model, replace(SIM, program=words), [1] * 80, 2).chunk
             for words in (1024, 512, 128)]
    assert sizes[0].chunk > sizes[1].chunk and sizes[2] is None


def test_listed_blocks_are_not_read_in_chunks():
    model = replace(random_model(context=128), attention=choose_attention(2, 8, blocks="1"))
    assert compile_model(model, SIM, [1] * 80, 2).chunk is None


def test_a_chunk_is_not_filled_up_beyond_the_context():
    compiled = compile_model(random_model(context=48), SIM, [1] * 48, 1, chunk=16)
    assert (compiled.task.chunks, compiled.task.passed, compiled.task.filled) == ((3,), 47, 48)
    for context in (44, 48):
        chunks = compile_model(random_model(context=context), SIM, [1] * 42, 2, chunk=16).chunks
        whole = replace(chunks, rest=None)
        assert whole.cut(42, 48)[0] == (3,)
        assert whole.cut(42, 47)[0] == (2,)


def test_chunks_of_no_tokens_are_refused():
    with pytest.raises(UserError, match="a chunk must have at least 1 token, not 0"):
        compile_model(random_model(), SIM, [1, 2], 2, chunk=0)
