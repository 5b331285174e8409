"""Windows, sinks, dense layers between them and lists of blocks: compiled, and on the emulator."""

from dataclasses import replace

import numpy as np
import pytest

from hw import isa
from hw import register_map as rm
from hw.config import load as load_config
from sw.compile.compiler import compile_model
from sw.compile.kv import kv_layers
from sw.compile.layer import repeats, runs_of_layers
from sw.compile.layers import quantise_model
from sw.compile.plan import heads_together
from sw.errors import UserError
from sw.models.attention import Attention, choose_attention, parse_blocks
from sw.runtime.emulator import Emulator
from tests.models import random_model
from tests.programs import likeliest
from tests.test_sw_emulator import run
from verif.reference.memory import append
from verif.reference.pattern import blocks_read


NANO, SIM = (load_config(name) for name in ("nano", "sim"))
SMALL = dict(dim=32, hidden=32, vocabulary=40, context=300)

#: name -> (model, configuration, what layers see, positions)
CASES = {
    "heads of their own": (dict(n_heads=2, n_kv_heads=2, n_layers=1), NANO, (20, 3), 110),
    "shared heads, dense layers between": (
        dict(n_heads=4, n_kv_heads=2, n_layers=4), SIM, (20, 0, 2), 86),
    "more heads than columns": (
        dict(n_heads=8, n_kv_heads=1, n_layers=1), replace(NANO, act_blocks=128), (20, 3), 105),
    "groups of three": (dict(n_heads=12, n_kv_heads=2, n_layers=1, dim=48),
                        replace(SIM, columns=2, kv_groups=3), (1, 1), 70),
    "no chains": (dict(n_heads=2, n_kv_heads=2, n_layers=1), replace(NANO, queue=4), (31, 2), 70),
    "listed blocks": (dict(n_heads=4, n_kv_heads=2, n_layers=1), SIM, (20, 3, None, "1,3"), 170),
    "heads of two blocks": (dict(n_heads=2, n_kv_heads=1, n_layers=1, dim=80), SIM, (34, 5), 104),
    "a window beyond the text": (dict(n_heads=2, n_kv_heads=2), NANO, (4096, 4), 40),
}


def build(case, order=None, **options):
    sizes, config, sees, positions = CASES[case]
    model = random_model(**{**SMALL, **sizes})
    model = replace(model, attention=choose_attention(len(model.layers), *sees))
    model = quantise_model(model, "int8", config.slices)
    model = replace(model, ends=(2**32 - 1,) * 2)
    compiled = compile_model(model, config, [1, 7, 30], positions - 2, chunk=1, **options)
    return compiled, Emulator(config, memory_bytes=compiled.memory.bytes, order=order)


@pytest.mark.parametrize("case", CASES)
def test_patterns_equal_the_reference(case):
    compiled, device = build(case, order=3, check=True)
    assert run(compiled, device).positions == CASES[case][3]
    assert not (device.owed or device.attending or device.choices or device.d_fifo)


@pytest.mark.parametrize("order", [None, 1, 2])
def test_any_order_of_steps_reads_the_same(order):
    compiled, device = build("heads of their own", order=order)
    outcome = run(compiled, device)
    assert outcome.tokens == likeliest(compiled.model, compiled.prompt, outcome.positions)


def test_a_window_costs_what_it_reads():
    """Words of keys and values are those of the blocks that are read, one time for an attend."""
    compiled, device = build("more heads than columns")
    positions = run(compiled, device).positions
    config, (layer,) = compiled.config, compiled.kv
    # Four of eight heads attend together: two columns, two groups.
    assert (compiled.plan.columns, compiled.plan.groups) == (2, 2)
    blocks = sum(len(blocks_read(n + 1, 1, 20, 3)) for n in range(positions))
    size = config.kv_beats(1) * config.beat_bytes
    assert device.counters()["d_words"] * config.word_bytes == 2 * blocks * size
    assert layer.ring == 2 and layer.head_lines == 3 * config.kv_lines(1)


def test_memory_of_windows_does_not_grow():
    model = quantise_model(replace(random_model(context=4000), attention=(
        Attention(64, 4), Attention())), "int8", 2)
    sizes = [kv_layers(model, SIM, positions) for positions in (500, 4000)]
    assert [layers[0].lines for layers in sizes] == [2 * 4 * SIM.kv_lines(1)] * 2
    assert [layers[0].ring for layers in sizes] == [3, 3]
    assert [layers[1].lines for layers in sizes] == [2 * n * SIM.kv_lines(1) for n in (16, 125)]
    # A chunk of tokens is in memory before its first one looks back.
    assert kv_layers(model, SIM, 4000, chunk=16)[0].ring == 4
    # A window that takes in everything keeps every block in its place.
    dense, _ = kv_layers(model, SIM, 64)
    assert dense.ring == 0 and dense.sees == Attention()


def test_heads_attend_together_if_they_can():
    assert heads_together(4, replace(SIM, columns=8, kv_groups=2)) == (4, 1)
    assert heads_together(12, replace(SIM, columns=8, kv_groups=2)) == (6, 2)
    assert heads_together(7, replace(SIM, columns=4, kv_groups=7)) == (1, 7)
    assert heads_together(64, replace(SIM, columns=8, kv_groups=4)) == (8, 4)


def test_repeated_runs_of_layers_are_one_loop():
    kinds = [*"aaab" * 3, "a", "a"]
    runs = runs_of_layers(kinds)
    assert runs[:3] == [(0, 3), (3, 1), (4, 3)]
    assert repeats(runs, kinds) == (runs[:2], 3)
    assert repeats(runs_of_layers("abcab"), "abcab") == ([(0, 1)], 1)
    model = replace(random_model(n_layers=8), attention=choose_attention(8, 8, 0, 4))
    names = [isa.decode(word)[0] for word in compile_model(model, SIM, [1], 40).words]
    assert names.count("append") == 2


@pytest.mark.parametrize("layers", [3, 5])
def test_a_loop_may_end_in_the_middle(layers):
    model = replace(random_model(dim=32, hidden=32, n_heads=1, n_kv_heads=1, vocabulary=40,
                                 n_layers=layers), attention=choose_attention(layers, 8, 0, 2))
    for chunk in (1, 8):
        compiled = compile_model(model, SIM, [*range(1, 18)], 3, check=True, chunk=chunk,
                                 format="int8")
        names = [isa.decode(word)[0] for word in compiled.words]
        assert names.count("append") <= (2 if layers == 5 else 3) * (1 if chunk == 1 else 4)
        run(compiled, Emulator(SIM, memory_bytes=compiled.memory.bytes, order=layers))


# Faults of the machine

#: Its D stream holds some blocks, which nobody takes.
DEEP = replace(NANO, d_fifo=2**14)


def after(*instructions, data=()):
    """The device after some instructions; a table or a list is in its memory."""
    device = Emulator(DEEP, memory_bytes=1 << 16)
    device.write(0, np.array(data, "<u4").tobytes())
    device.program([isa.encode(name, **fields) for name, fields in instructions]
                   + [isa.encode("branch", target=len(instructions))])
    device.start()
    device.run(200)
    return device


def fault_of(*instructions, data=()):
    return after(*instructions, data=data).cause()


def test_lists_must_ascend():
    choose = ("choose", dict(entries=3, count=1))
    many = ("set", dict(rd=1, imm=100))
    walk = ("walk", dict(head_blocks=1, span=1, pattern="chosen"))
    assert fault_of(many, choose, walk, data=(1, 5, 9)) == rm.Cause.NONE
    assert fault_of(many, choose, walk, data=(1, 5, 5)) == rm.Cause.CHOICE
    assert fault_of(many, choose, walk, data=(1, 5, 4)) == rm.Cause.CHOICE


@pytest.mark.parametrize("pages", [(), (0,), (0, 1, 2)])
def test_a_choose_ends_when_a_walk_has_its_list(pages):
    many, data = ("set", dict(rd=1, imm=100)), (*pages, 0)
    choose = ("choose", dict(entries=len(pages), count=1))
    walk = ("walk", dict(head_blocks=1, span=1, pattern="chosen"))
    assert not after(many, choose, data=data).resting
    assert after(many, choose, walk, data=data).resting


def test_blocks_beyond_the_table_are_a_fault():
    count = ("set", dict(rd=1, imm=70))
    walk = ("walk", dict(head_blocks=1, span=1, count=1, base=1))
    assert fault_of(count, ("paging", dict(entries=3)), walk, data=(4, 2, 0)) == rm.Cause.NONE
    assert fault_of(count, ("paging", dict(entries=2)), walk, data=(4, 2)) == rm.Cause.TABLE
    append = ("append", dict(heads=1, head_blocks=1, count=1, base=1))
    assert fault_of(count, ("paging", dict(entries=2)), append, data=(4, 2)) == rm.Cause.TABLE


def test_a_table_says_where_blocks_lie():
    walk = ("walk", dict(head_blocks=1, span=1, count=1, base=64))
    device = after(("paging", dict(entries=2)), ("set", dict(rd=1, imm=50)), walk, data=(3, 1))
    keys, values = (beats * DEEP.beat_bytes for beats in DEEP.part_beats(1))
    starts = [(64 + place * DEEP.kv_lines(1)) * DEEP.line_bytes for place in (3, 1)]
    assert [part.raw.tobytes() for part in device.d_fifo] == [
        *(device.read(start, keys) for start in starts),
        *(device.read(start + keys, values) for start in starts)]


@pytest.mark.parametrize("bounds", [0, 1])
def test_tokens_that_are_staged_together_are_appended(bounds):
    """They lie in two KV blocks."""
    config = replace(DEEP, pages=64)
    device = Emulator(config, memory_bytes=1 << 16)
    geometry = dict(heads=2, head_blocks=1, head_stride=64, more=3, bounds=bounds)
    device.program([isa.encode("set", rd=1, imm=30),
                    isa.encode("append", base=5, count=1, **geometry),
                    isa.encode("branch", target=2)])
    device.start()
    rng, shape = np.random.default_rng(0), device.staging.shape
    device.staging[:] = rng.integers(0, 256, shape)
    device.staging_codes[:] = rng.integers(0, 256, shape[0])
    expected = device.memory.copy()
    append(expected, device.staging.view(np.int8), device.staging_codes, 5, 30, config=config,
           **geometry)
    assert not np.array_equal(device.memory, expected)
    device.run(50)
    assert np.array_equal(device.memory, expected)


# What users ask for

@pytest.mark.parametrize("text, wanted", [
    ("3", (3,)), ("0,3-5", (0, 3, 4, 5)), ("1 2\n4", (1, 2, 4))])
def test_lists_of_blocks_are_read(text, wanted, tmp_path):
    assert parse_blocks(text) == wanted
    (tmp_path / "list").write_text(text + "\n")
    assert parse_blocks(str(tmp_path / "list")) == wanted


@pytest.mark.parametrize("asked, sentence", [
    (dict(window=0), "a window must have 1 to 1048575 tokens, not 0; leave it out"),
    (dict(window=1 << 20), "a window must have 1 to 1048575 tokens, not 1048576"),
    (dict(window=8, sinks=9), "must be 0 to 8 sinks, as the window has 8 tokens .* not 9"),
    (dict(window=9000, sinks=4096), "must be 0 to 4095 sinks.* not 4096"),
    (dict(window=8, sinks=-1), "must be 0 to 8 sinks.* not -1"),
    (dict(sinks=4), "sinks need a window"),
    (dict(global_every=4), "need a window for the others"),
    (dict(window=8, global_every=0), "with n from 1 on, not 0"),
    (dict(blocks="1"), "a list of blocks needs a window"),
    (dict(window=8, blocks="3,1"), "must ascend, but 1 follows 3"),
    (dict(window=8, blocks="5-3"), "must ascend, but 5-3 does not"),
    (dict(window=8, blocks="1,2-3,3"), "the list of blocks repeats 3"),
    (dict(window=8, blocks="1-2-3"), "numbers and ranges, such as 0,3-7, not '1-2-3'"),
    (dict(window=8, blocks="0-99999"), "1 to 65535 numbers, not 100000"),
    (dict(window=8, blocks="nowhere"), "nowhere is neither a list of blocks.* nor a file"),
], ids=str)
def test_impossible_patterns_are_refused(asked, sentence):
    with pytest.raises(UserError, match=sentence):
        choose_attention(2, **asked)


def test_blocks_beyond_the_context_are_refused():
    model = replace(random_model(), attention=choose_attention(2, 8, blocks="0-2"))
    with pytest.raises(UserError, match="block 2, but the 48 tokens that random sees are blocks 0 "
                                        "to 1"):
        compile_model(model, SIM, [1], 2)


def test_a_context_beyond_memory_is_refused():
    model = replace(random_model(context=2**17, dim=32, n_heads=1, n_kv_heads=1, vocabulary=9000))
    with pytest.raises(UserError, match="needs .* bytes of memory, configuration .* addresses"):
        compile_model(model, replace(SIM, address_bits=32), [1], 2**17 - 1, check=True)
