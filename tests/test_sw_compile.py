"""The compiler's parts: padding, plan, memory map, assembler, and what it refuses."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from hw import isa
from hw.config import load as load_config
from hw.formats import FORMATS
from hw.register_map import PAGE
from sw.compile.assembler import Assembler, listing
from sw.compile.compiler import compile_model
from sw.compile.layers import quantise_model, row_unit
from sw.compile.memory import MemoryMap
from sw.compile.plan import Chunk, cut_chunks, make_plan
from sw.errors import UserError
from sw.quantise import dequantise_weights
from tests.models import random_model
from verif.reference.matmul import matmul
from verif.reference.quantise import quantise
from verif.reference.tape import pack, tape_beats


NANO, SIM, WIDE = (load_config(name) for name in ("nano", "sim", "wide"))


# Layers

@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("slices", [1, 2, 64])
def test_every_tile_is_full(slices, format):
    model = quantise_model(random_model(dim=60, hidden=44, n_heads=3, n_kv_heads=1), format, slices)
    unit = row_unit(slices, format)
    for matrix in (*model.layers[0].matrices, model.classifier):
        assert len(matrix.weights) % unit == 0 and len(matrix.weights) % 32 == 0
        assert matrix.scales.shape == (len(matrix.weights),
                                       FORMATS[format].scales(matrix.weights.shape[1]))
        assert matrix.format == format and (matrix.factor is not None) == FORMATS[format].factor
    # 44 columns are one and a half blocks, where rows may end so.
    assert model.layers[0].down.weights.shape[1] == 32 * model.hidden_blocks - (
        0 if FORMATS[format].whole else 16)
    assert 32 * model.head_blocks % slices == 0


@pytest.mark.parametrize("format, size, wanted", [
    ("int8", 80, 80), ("int8", 81, 96), ("int8", 65, 80), ("int16", 80, 80), ("fp8", 70, 80),
    # Two rows of 4 or 6 bits lie together in whole blocks.
    ("int4", 80, 96), ("mxfp6", 80, 96), ("nvfp4", 80, 96),
])
def test_rows_end_in_half_a_block_where_they_may(format, size, wanted):
    model = quantise_model(random_model(dim=size, hidden=size, n_heads=1, n_kv_heads=1), format)
    for matrix in (model.layers[0].kvq, model.layers[0].gate_up, model.layers[0].down,
                   model.classifier):
        assert matrix.weights.shape[1] == wanted
        assert matrix.scales.shape[1] == FORMATS[format].scales(96)


def test_rows_and_columns_are_where_the_program_expects_them():
    source = random_model(dim=80, hidden=70, n_heads=4, n_kv_heads=2)
    model, layer = quantise_model(source, "int8"), source.layers[1]
    kvq, output, gate_up, down = (dequantise_weights(*m) for m in model.layers[1].matrices)

    def close(a, b):
        assert a.shape == b.shape and np.abs(a - b).max() <= np.abs(b).max() / 200
    # Heads of 20 elements are padded to 32.
    for first, w in ((0, layer.wk), (2, layer.wv), (4, layer.wq)):
        for head in range(len(w) // 20):
            row = 32 * (first + head)
            close(kvq[row:row + 20, :80], w[20 * head:20 * head + 20])
            assert not kvq[row + 20:row + 32].any()
    for head in range(4):
        close(output[:80, 32 * head:32 * head + 20], layer.wo[:, 20 * head:20 * head + 20])
        assert not output[:, 32 * head + 20:32 * head + 32].any()
    close(gate_up[:32, :80], layer.w1[:32])
    close(gate_up[32:64, :80], layer.w3[:32])
    close(gate_up[128:134, :80], layer.w1[64:])
    # 80 columns end in half a block.
    assert not gate_up[134:160].any() and gate_up.shape == (192, 80)
    close(down[:80, :70], layer.w2)


def test_rotary_rows_hold_the_angles_of_llama2c():
    source = random_model(dim=80, n_heads=4)
    model = quantise_model(source, "int8")
    for pair in (0, 3, 9):
        angle = 7 / 10000.0 ** (2 * pair / 20)
        wanted = np.float32([np.cos(angle), np.sin(angle)])
        assert np.array_equal(model.rope_k[7, 2 * pair:2 * pair + 2], wanted)
        factor = 1 / np.log(2) / np.sqrt(20)
        wanted = np.float32(np.array([np.cos(angle), np.sin(angle)]) * factor)
        assert np.array_equal(model.rope_q[7, 2 * pair:2 * pair + 2], wanted)
    assert not model.rope_k[:, 20:].any() and model.rope_k.shape[1] == 32


def test_gains_contain_the_root_of_the_length():
    source = random_model(dim=80)
    model = quantise_model(source, "int8")
    assert np.allclose(model.gain[:80], source.norm * np.sqrt(80), rtol=1e-7)
    assert not model.gain[80:].any() and model.guard == np.float32(80e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_rows_beyond_the_vocabulary_are_never_a_number(format):
    matrix = quantise_model(random_model(vocabulary=301), format).classifier
    assert len(matrix.scales) == 320
    logits = matmul(matrix.weights, matrix.scales, *quantise(np.ones(64)), format)
    assert np.isnan(logits[301:]).all() and np.isfinite(logits[:301]).all()


def test_weights_beyond_fp16_scales_are_refused_by_name():
    source = random_model()
    source.layers[1].w2[0, 0] = 1e9
    with pytest.raises(UserError, match="the weights w2 of layer 1 of random cannot be rounded"):
        quantise_model(source, "int4")


# Plan

def regions(model, plan):
    """Workspace regions that are in use at once, as name -> (first, blocks)."""
    dim, table = model.dim_blocks, model.table_blocks
    return {"x": (plan.x, dim), "n": (plan.n, dim), "gain0": (plan.gain[0], dim),
            "gain1": (plan.gain[1], dim), "final": (plan.final_gain, dim),
            "rope_k": (plan.rope_k, table), "rope_q": (plan.rope_q, table),
            "rows": (plan.rows, 2 * model.kv_rows + model.q_rows + plan.extra),
            "o": (plan.o, model.q_blocks)}


@pytest.mark.parametrize("config", [NANO, SIM, WIDE], ids=str)
def test_regions_do_not_overlap(config):
    model = quantise_model(random_model(dim=60, n_heads=3, n_kv_heads=1), "int4", config.slices)
    plan = make_plan(model, config)
    taken = []
    for first, blocks in regions(model, plan).values():
        taken += range(first, first + blocks)
    assert len(taken) == len(set(taken)) and max(taken) < config.blocks
    assert plan.h == plan.rows == plan.chunks[0].slot
    assert plan.used <= config.blocks and plan.act_used <= config.act_blocks
    assert plan.inner >= plan.vector + max(model.dim_blocks, model.q_rows)


def test_chunks_cover_the_logits_once():
    assert cut_chunks(10, 5, 10, 1, 8) == ((Chunk(0, 10, 5),), 0)
    for blocks, room, unit, tile in ((100, 64, 1, 8), (101, 17, 1, 1), (96, 20, 4, 32)):
        chunks, ring = cut_chunks(blocks, 7, room, unit, tile)
        assert [c.first for c in chunks] == list(np.cumsum([0] + [c.blocks for c in chunks])[:-1])
        assert sum(c.blocks for c in chunks) == blocks and ring <= room
        for n, chunk in enumerate(chunks):
            assert chunk.slot == 7 + ring // 2 * (n % 2)
            assert chunk.blocks % unit == 0 and chunk.blocks <= ring // 2


@pytest.mark.parametrize("change, sentence", [
    (dict(max_head=32), r"heads of 64 elements \(padded\) exceed max_head = 32"),
    (dict(kv_staging=8), "keys and values are 16 blocks, kv_staging holds 8"),
    (dict(workspace=4096), r"needs \d+ blocks of 32 elements in the workspace, which holds 32; "
                           r"use workspace = 8192"),
    (dict(act_blocks=16), r"needs \d+ activation blocks, there are 16; use act_blocks = 32"),
    (dict(program=128), None),
], ids=lambda value: "" if not isinstance(value, dict) else next(iter(value)))
def test_models_that_do_not_fit_are_refused(change, sentence):
    model = quantise_model(random_model(dim=160, n_heads=4, n_kv_heads=4, hidden=64), "int8", 2)
    if sentence is None:
        make_plan(model, replace(SIM, **change))
        return
    with pytest.raises(UserError, match=sentence):
        make_plan(model, replace(SIM, **change))


# Whole compilations

def test_the_image_holds_header_rows_and_tapes():
    source = random_model()
    compiled = compile_model(source, SIM, [1, 5, 9], 4, format="int4")
    image, memory, model = compiled.memory.image(), compiled.memory, compiled.model
    magic, version, config_hash, line, size, total = struct.unpack_from("<4sIIIQQ", image)
    assert (magic, version, config_hash, line) == (b"TKMI", 1, SIM.hash, 64)
    assert size == len(image) and size % PAGE == 0 and total == memory.bytes

    def region(name):
        found = memory.regions[name]
        return image[found.line * line:found.line * line + found.size]
    assert region("prompt").view("<u4").tolist() == [1, 5, 9]
    assert np.array_equal(region("embedding").view("<f4").reshape(300, -1), source.embedding)
    gains = region("gains").view("<f4").reshape(6, -1)
    assert np.array_equal(gains[:2], gains[4:])
    assert np.array_equal(gains[3], model.layers[1].ffn_gain)
    first = pack(*model.layers[0].kvq[:3], 2)
    assert region("layers")[:len(first)].tobytes() == first
    beats = sum(tape_beats(m.weights.shape, "int4", 2) for x in model.layers for m in x.matrices)
    assert len(region("layers")) == 32 * beats
    kv = memory.regions["kv"]
    assert kv.line == memory.writable and kv.line * line % PAGE == 0


def test_rows_start_at_lines_of_wide_machines():
    compiled = compile_model(random_model(dim=96, n_heads=3, n_kv_heads=3), WIDE, [1], 2)
    memory = compiled.memory
    assert memory.row_lines(compiled.model.dim_blocks) == 1 and WIDE.line_bytes == 1024
    assert memory.regions["embedding"].lines == 300


@pytest.mark.parametrize("prompt, tokens, sentence", [
    ([], 3, "the prompt has no tokens"),
    ([1, 300], 3, "has token 300, but random knows tokens 0 to 299"),
    ([1] * 49, 3, "the prompt has 49 tokens, but random sees at most 48"),
    ([1, 2], 0, "must be positive, not 0"),
    ([1, 2], 48, "a prompt of 2 tokens leaves room for 47 more"),
], ids=str)
def test_impossible_tasks_are_refused(prompt, tokens, sentence):
    with pytest.raises(UserError, match=sentence):
        compile_model(random_model(), SIM, prompt, tokens)


def test_machines_that_lack_something_are_named():
    model = random_model()
    with pytest.raises(UserError, match="sim has no weight format int4; it has int8"):
        compile_model(model, replace(SIM, formats=("int8",)), [1], 2, format="int4")
    with pytest.raises(UserError, match="sim has no activations of type e4m3; it has int8, and"):
        compile_model(model, SIM, [1], 2, activation="e4m3")
    with pytest.raises(UserError, match="sim has no keys and values of type e5m2; it has int8"):
        compile_model(model, SIM, [1], 2, kv="e5m2")
    with pytest.raises(UserError, match="the scale rule must be floor or up, not 'even'"):
        compile_model(model, SIM, [1], 2, rule="even")
    with pytest.raises(UserError, match="weights of int16 cannot be multiplied by activations of "
                                        "e4m3; int8, .* can"):
        compile_model(model, replace(SIM, formats=("int16",), activations=("int8", "e4m3")), [1],
                      2, format="int16", activation="e4m3")
    with pytest.raises(UserError, match="program of .* instructions, program memory"):
        compile_model(random_model(dim=32, hidden=64, n_heads=2, vocabulary=9000),
                      replace(NANO, program=128, workspace=4096), [1], 2,
                      check=True)


def test_models_that_were_padded_for_another_machine_are_refused():
    model = quantise_model(random_model(dim=96, n_heads=3, n_kv_heads=3), "int4", 2)
    with pytest.raises(ValueError, match="a matrix of 288 rows of int4 is not padded for the 64 "):
        compile_model(model, WIDE, [1], 2)


def test_the_last_token_of_the_context_can_be_reached():
    assert compile_model(random_model(), SIM, [1, 2], 47).task.positions == 48


# Assembler

def test_labels_and_names_become_numbers():
    out = Assembler({"ready": 3}, {"count": 5})
    out.label("loop")
    out.emit("raise", counter="ready", count=2)
    out.emit("walk", take0="ready", count="count", base=7)
    out.emit("branch", condition="ge", ra="count", rb="zero", target="end")
    out.emit("branch", target="loop")
    out.label("end")
    out.emit("stop")
    decoded = [isa.decode(word) for word in out.words()]
    assert decoded[0] == ("raise", {"counter": 3, "count": 2})
    assert decoded[1][1]["take0"] == 3 and decoded[1][1]["count"] == 5
    assert decoded[2][1] == {"condition": "ge", "ra": 5, "rb": 0, "target": 4}
    assert decoded[3][1]["target"] == 0


def test_mistakes_in_assembly_are_explained():
    out = Assembler({"ready": 3})
    with pytest.raises(ValueError, match="there is no instruction 'jump'"):
        out.emit("jump")
    with pytest.raises(ValueError, match="walk take0: 'redy' is not one of ready"):
        out.emit("walk", take0="redy")
    out.label("here")
    with pytest.raises(ValueError, match="'here' is defined twice"):
        out.label("here")
    out.emit("branch", target="there")
    with pytest.raises(ValueError, match="the label 'there' is not defined"):
        out.words()


def test_a_listing_names_labels_counters_registers_and_regions():
    out = Assembler({"ready": 3}, {"count": 5})
    out.label("loop")
    out.emit("gather", "first row", dst=2, blocks=4, base=12, offset="count", raise0="ready")
    out.emit("branch", ra="count", rb="zero", target="loop")
    text = listing(out.words(), labels=out.labels, comments=out.comments(), counters=out.counters,
                   registers=out.registers, symbols=[("rows", 10, 5), ("other", 20, 1)])
    lines = text.splitlines()
    assert lines[0] == "loop:"
    assert lines[1].split(";")[0].split() == [
        "0", "gather", "raise0=ready", "dst=2", "blocks=4", "base=rows+2", "offset=count"]
    assert lines[1].endswith("; first row")
    assert lines[2].split() == ["1", "branch", "condition=eq", "ra=count", "target=loop"]
    # Without names, numbers are shown.
    assert "base=line 12" in listing(out.words()) and "raise0=3" in listing(out.words())


@pytest.mark.parametrize("queue", [2, 4, 8])
@pytest.mark.parametrize("prompts, chunk", [([1, 5, 9], 1), ([[1, 5], [1, 6, 7]], 1),
                                            ([1, 5, 9], None)])
def test_a_load_and_what_is_behind_it_fit_the_movers_queue(queue, prompts, chunk):
    """A load leaves the queue when its value is taken, which is not before all have their place."""
    compiled = compile_model(random_model(), replace(SIM, queue=queue), prompts, 4, chunk=chunk)
    waiting = None
    for name, fields in map(isa.decode, compiled.words):
        if isa.BY_NAME[name].unit == "mover" and (waiting is not None or name == "load"):
            waiting = (waiting or 0) + 1
            assert waiting <= queue
        elif name == "wait" and fields["source"] == "load":
            waiting = None


def test_the_listing_of_a_model_has_a_line_for_each_instruction():
    compiled = compile_model(random_model(), SIM, [1], 2)
    numbered = [line for line in compiled.listing().splitlines() if line.startswith("  ")]
    assert [int(line.split()[0]) for line in numbered] == list(range(len(compiled.words)))
    assert "base=embedding offset=row" in compiled.listing()
    for name in compiled.memory.regions:
        assert name in compiled.layout()


def test_regions_follow_each_other():
    memory = MemoryMap(SIM)
    memory.place_data("a", bytes(65))
    memory.place_rows("b", np.ones((3, 32)))
    assert [(r.line, r.lines) for r in memory.regions.values()] == [(0, 1), (1, 2), (3, 6)]
    memory.begin_writable()
    assert memory.place("c", 100).line == 64
    assert memory.bytes == 2 * PAGE and memory.read_only_bytes == PAGE
