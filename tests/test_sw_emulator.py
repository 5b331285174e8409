"""Compiled programs on the emulator: any order of steps gives the reference's bits."""

from dataclasses import replace

import numpy as np
import pytest

from hw import isa
from hw import register_map as rm
from hw.config import load as load_config
from hw.formats import ACTIVATIONS, FORMATS, KV, supported
from sw.compile.compiler import compile_model
from sw.compile.layers import quantise_model
from sw.compile.program import Sampling
from sw.compile.writer import COUNTERS
from sw.errors import UserError
from sw.runtime.emulator import Emulator
from sw.runtime.fault import Hazard
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.models import random_model
from tests.programs import shows_a_race, without_take
from verif.reference.forward import State, forward
from verif.reference.norm import norm


NANO, SIM, WIDE = (load_config(name) for name in ("nano", "sim", "wide"))

#: name -> (model, configuration, format)
CASES = {
    "plain": (dict(), SIM, "int4"),
    "nano": (dict(dim=32, hidden=64, n_heads=2, n_kv_heads=1), replace(NANO, queue=2), "int8"),
    "ragged": (dict(dim=48, hidden=44, n_heads=6, n_kv_heads=3, vocabulary=301), SIM, "int8"),
    "two blocks a head": (dict(dim=80, n_heads=2, n_kv_heads=1), SIM, "int4"),
    "more queries than columns": (dict(dim=96, n_heads=6, n_kv_heads=1), replace(NANO, columns=4),
                                  "int4"),
    "zeros behind the queries": (dict(dim=60, n_heads=3, n_kv_heads=1), WIDE, "int4"),
    "logits by turns": (dict(dim=32, hidden=64, n_heads=2, n_kv_heads=2, vocabulary=2900,
                             n_layers=1), replace(NANO, workspace=2**12), "int8"),
    "forwarded": (dict(dim=32, hidden=64, n_heads=2, n_kv_heads=2),
                  replace(NANO, queue=16, forward=1), "int8"),
    "forwarded, more queries": (dict(dim=96, n_heads=6, n_kv_heads=1),
                                replace(NANO, columns=4, forward=1), "int4"),
    "unshared": (dict(shared=False, n_layers=1), SIM, "int8"),
}


def build(case, prompt=(1, 7, 30), tokens=4, order=None, **options):
    sizes, config, format = CASES[case]
    return emulate(random_model(**sizes), config, prompt, tokens, order, format=format, **options)


def emulate(model, config, prompt=(1, 7, 30), tokens=4, order=None, **options):
    compiled = compile_model(model, config, list(prompt), tokens, **{"chunk": 1, **options})
    return compiled, Emulator(config, memory_bytes=compiled.memory.bytes, order=order)


def run(compiled, device):
    """The outcome of a run, checked against the reference if it was compiled for that."""
    session = Session(device, compiled)
    verifier = Verifier(device, compiled) if compiled.task.check else None
    list(session.tokens())
    if verifier:
        assert "equal the reference" in verifier.verify(session.outcome)
    return session.outcome


@pytest.mark.parametrize("order", [None, 1])
@pytest.mark.parametrize("case", CASES)
def test_logits_keys_and_values_equal_the_reference(case, order):
    compiled, device = build(case, order=order, check=True)
    run(compiled, device)


#: All number formats.
ALL = dict(formats=tuple(FORMATS), activations=tuple(ACTIVATIONS), kv=tuple(KV))


@pytest.mark.parametrize("format, activation, rule, kv", [
    (name, activation, rule, kv) for name, format in FORMATS.items()
    for activation, rule, kv in (("int8", "floor", "int8"), ("e4m3", "up", "e4m3"),
                                 ("int8", "up", "e5m2"), ("int8", "floor", "int4"))
    if supported(format, activation)])
def test_every_number_format_gives_the_bits_of_the_reference(format, activation, rule, kv):
    compiled, device = emulate(random_model(n_layers=1), replace(SIM, **ALL), tokens=2, order=4,
                               check=True, format=format, activation=activation, rule=rule, kv=kv)
    run(compiled, device)


def test_wide_machines_have_all_formats_too():
    model = random_model(dim=160, n_heads=5, n_kv_heads=1, n_layers=1)
    machine = replace(WIDE, **ALL | {"kv": ("int8", "e5m2")})
    for format in ("nvfp4", "mxfp6", "int4g128", "int16"):
        run(*emulate(model, machine, tokens=2, check=True, format=format, kv="e5m2"))


def test_every_matrix_may_have_its_own_format():
    source, formats = random_model(n_layers=4), ("int8", "nvfp4", "nvfp4", "int16", "mxfp6")
    models = {format: quantise_model(source, format, rule="up", kv="e4m3") for format in formats}
    layers = [models[format].layers[n] for n, format in enumerate(formats[:-1])]
    layers[3] = replace(layers[3], down=models["int8"].layers[3].down)
    mixed = replace(models["int8"], format="mixed", layers=tuple(layers),
                    classifier=models["mxfp6"].classifier)
    compiled, device = emulate(mixed, replace(SIM, **ALL), order=6, check=True)
    run(compiled, device)
    assert {"layer", "layer_1", "layer_2"} < set(compiled.assembler.labels)
    assert "layer_3" not in compiled.assembler.labels
    with pytest.raises(UserError, match="sim has no weight format nvfp4; it has int8, int4, and"):
        emulate(mixed, SIM)


@pytest.mark.parametrize("case", ["plain", "nano", "logits by turns"])
def test_the_program_without_checks_chooses_the_same_tokens(case):
    plain = run(*build(case, order=3))
    assert plain.tokens == run(*build(case, check=True)).tokens
    assert len(plain.tokens) == 4 and plain.positions == 6


def test_more_than_a_block_of_tokens():
    compiled, device = build("nano", tokens=36, order=5, check=True)
    assert run(compiled, device).positions == 38


def test_sampling_follows_the_seed_and_the_reference():
    texts = [run(*build("unshared", check=True, tokens=8,
                        sampling=Sampling(temperature=1.0, seed=seed))).tokens
             for seed in (5, 5, 2**40 + 5)]
    assert texts[0] == texts[1] != texts[2]


def expected(compiled):
    """Greedy continuation by the reference alone."""
    model, tokens = compiled.model, list(compiled.prompt)
    state = State.empty(model)
    for position in range(compiled.task.positions):
        logits = forward(model, tokens[position], position, state)[0]
        if position + 1 == len(tokens):
            tokens.append(int(np.argmax(logits)))
    return tokens[len(compiled.prompt):]


def test_a_text_that_ends_stops_the_run():
    sizes, config, format = CASES["unshared"]
    model = random_model(**sizes)
    tokens = expected(compile_model(model, config, [1, 7], 12, format=format))
    last = next(n for n, token in enumerate(tokens) if token not in tokens[:n] and n)
    # Exchange the names of a token that is chosen and of the token that ends a text.
    order = np.arange(model.vocabulary)
    order[[2, tokens[last]]] = tokens[last], 2
    model = replace(model, embedding=model.embedding[order], classifier=model.classifier[order])
    for check in (False, True):
        compiled = compile_model(model, config, [1, 7], 13, format=format, check=check)
        device = Emulator(config, memory_bytes=compiled.memory.bytes, order=1)
        outcome = run(compiled, device)
        assert outcome.tokens == tokens[:last] and outcome.positions == 2 + last
        assert not device.w_ready and not device.d_fifo


@pytest.mark.parametrize("forward", [0, 1])
def test_counters_are_balanced_at_the_end(forward):
    sizes, config, format = CASES["logits by turns"]
    compiled, device = emulate(random_model(**sizes), replace(config, forward=forward), check=True,
                               format=format)
    run(compiled, device)
    left = {name: device.semaphores[number] for name, number in COUNTERS.items()
            if device.semaphores[number]}
    # What was fetched for the next token, room that is free, and heads that are in memory for it.
    dim = compiled.model.dim_blocks
    assert compiled.plan.ring
    wanted = {"gain_ready": 2 * dim, "x_free": dim, "logits_free": compiled.plan.ring}
    if forward:
        wanted["appended"] = compiled.model.n_kv_heads
    assert left == wanted
    assert not (device.sums or device.tokens or device.loaded or device.w_ready or device.d_fifo)


def test_a_run_leaves_nothing_for_the_next():
    compiled, device = build("plain")
    session = Session(device, compiled)
    assert list(session.tokens()) == list(session.tokens())


#: Takes without which something is used too early, as (instruction, its occurrence, field).
NEEDED = [("norm", 0, "take0"), ("matmul", 0, "take0"), ("rope", 0, "take0"),
          ("quantise", 2, "take0"), ("append", 0, "take0"), ("walk", 0, "take0"),
          ("attend", 0, "take0"), ("matmul", 1, "take0"), ("gate", 0, "take1"),
          ("pick", 0, "take0"), ("gather", 6, "take0")]


@pytest.mark.parametrize("name, occurrence, field", NEEDED,
                         ids=lambda value: str(value))
def test_every_counter_is_needed(name, occurrence, field):
    """Without one take, some order of steps shows a race."""
    compiled, _ = build("nano", tokens=3, check=True)
    assert shows_a_race(without_take(compiled, name, occurrence, field), run)


class SlowMover(Emulator):
    """The mover takes a step only if nobody else can."""

    def _pass(self, random):
        others = [self.control, *(self.units[name] for name in ("matmul", "vector", "w", "d"))]
        return sum(agent.step() for agent in others) or self.units["mover"].step()


@pytest.mark.parametrize("name", ["append", "attend"])
def test_every_counter_is_needed_when_the_newest_token_is_forwarded(name):
    """An attend needs its token staged. What walks take of the token before cannot be shown, since
    the emulator's memory acknowledges at once."""
    compiled, _ = build("forwarded", check=True)
    assert shows_a_race(without_take(compiled, name, 0, "take0"), run)


def test_nothing_is_staged_on_a_token_that_is_not_in_memory():
    compiled, _ = build("forwarded", check=True)
    size = compiled.memory.bytes
    run(compiled, SlowMover(compiled.config, memory_bytes=size))
    with pytest.raises(UserError, match="differ"):
        run(without_take(compiled, "multiply", 0, "take0"),
            SlowMover(compiled.config, memory_bytes=size))


def test_a_walk_and_its_attend_say_the_same_of_the_newest_token():
    compiled, device = build("forwarded", check=True)
    words = []
    for name, values in map(isa.decode, compiled.words):
        words.append(isa.encode(name, **{**values, **({"heads": 0} if name == "attend" else {})}))
    with pytest.raises(Hazard, match="do not agree on where the newest token is"):
        run(replace(compiled, words=words), device)


def fault_of(words, **registers):
    device = Emulator(NANO, memory_bytes=1 << 16)
    device.program(words)
    for name, value in registers.items():
        device.write_register(name, value)
    device.start()
    assert device.run(10_000) == rm.DONE | rm.FAULT
    return device


def norms(blocks, period, dst):
    """A device that normed vectors at block 0 with the gain at 200; the vectors; the gain."""
    counters = dict(take0=1, take1=2, raise0=3, raise1=4)
    device = Emulator(replace(NANO, workspace=2**16), memory_bytes=1 << 16)
    device.program([isa.encode("raise", counter=1, count=period),
                    isa.encode("raise", counter=2, count=period),
                    isa.encode("norm", dst=dst, b=200, blocks=blocks, imm=0x3F800000,
                               period=period, **counters), isa.encode("stop")])
    device.start()
    rng = np.random.default_rng(blocks)
    device.workspace[:] = rng.normal(size=device.workspace.shape)
    x, gain = device.workspace[:blocks].copy(), device.workspace[200:200 + period].copy()
    assert device.run(10_000) == rm.DONE
    return device, x, gain


@pytest.mark.parametrize("blocks, period", [(12, 3), (70, 1), (135, 2), (7, 4)])
def test_one_norm_serves_many_vectors(blocks, period):
    """It takes with the first of them and raises with the last one, which may have fewer blocks."""
    device, x, gain = norms(blocks, period, dst=0)
    for first in range(0, blocks, period):
        vector = x[first:first + period]
        y = norm(vector.ravel(), gain[:len(vector)].ravel(), np.float32(1))
        assert np.array_equal(device.workspace[first:first + len(vector)].ravel(), y)
    last = blocks - (blocks - 1) // period * period
    assert list(device.semaphores[1:5]) == [0, 0, last, last]


def test_a_norm_must_not_write_where_its_gain_is():
    with pytest.raises(Hazard, match="a norm writes where its gain is"):
        norms(8, 4, dst=194)


def test_a_deadlock_is_found_and_described():
    device = fault_of([isa.encode("norm", take0=3, blocks=1), isa.encode("stop")])
    assert device.cause() == rm.Cause.WATCHDOG
    assert "vector: norm waits for counter 3" in device.diagnosis()
    assert "sequencer: at 1, stop" in device.diagnosis()


def test_illegal_instructions_and_addresses_are_faults():
    assert fault_of([63]).cause() == rm.Cause.ILLEGAL
    # A format that this machine does not have.
    assert fault_of([isa.encode("matmul", format="mxfp8")]).cause() == rm.Cause.ILLEGAL
    read = isa.encode("gather", blocks=1, base=64)
    device = fault_of([read, isa.encode("stop")], read_limit=1)
    assert device.cause() == rm.Cause.READ_WINDOW
    assert device.read_register("fault_low") == 4096
    write = isa.encode("scatter", blocks=1, base=0)
    assert fault_of([write, isa.encode("stop")], write_base=1).cause() == rm.Cause.WRITE_WINDOW


@pytest.mark.parametrize("order", [None, 1, 2, 3])
def test_a_flush_forgets_a_stream_that_was_begun(order):
    words = [isa.encode("stream", stream="w", beats=4), isa.encode("flush", w=1),
             isa.encode("stream", stream="d", beats=4), isa.encode("flush", d=1)]
    device = Emulator(NANO, memory_bytes=1 << 16, order=order)
    device.program([*words * 10, isa.encode("sync"), isa.encode("stop")])
    device.start()
    assert device.run(10_000) == rm.DONE
    assert not device.w_ready and not device.d_fifo


def test_emitted_values_wait_for_the_host():
    words = [isa.encode("emit"), isa.encode("add", rd=1, ra=1, imm=1),
             isa.encode("set", rd=2, imm=100),
             isa.encode("branch", condition="lt", ra=1, rb=2, target=0), isa.encode("stop")]
    device = Emulator(NANO, memory_bytes=1 << 16)
    device.program(words)
    device.start()
    assert device.run(10_000) == rm.RUNNING
    assert len(device.emitted()) == 64
    assert device.run(10_000) == rm.DONE
    assert len(device.emitted()) == 36
    assert device.counters()["instructions"] == 401


def test_a_host_is_told_what_is_wrong():
    device = Emulator(NANO, memory_bytes=1 << 16)
    with pytest.raises(UserError, match="refused to write register status"):
        device.write_register("status", 1)
    with pytest.raises(UserError, match="lie outside"):
        device.read(1 << 16, 4)
    with pytest.raises(UserError, match="the program has 9999 instructions"):
        device.program([0] * 9999)
    compiled, _ = build("plain")
    with pytest.raises(UserError, match="the machine has configuration hash"):
        Session(device, compiled)


def verifier_after_a_run():
    compiled, device = build("nano", check=True)
    session = Session(device, compiled)
    verifier = Verifier(device, compiled)
    list(session.tokens())
    assert "equal the reference" in verifier.verify(session.outcome)
    return compiled, device, session, verifier


def test_a_wrong_bit_is_found_and_named():
    compiled, device, session, verifier = verifier_after_a_run()

    def flip(address):
        device.write(address, bytes([device.read(address, 1)[0] ^ 1]))
    (address, _), = compiled.logits_address(2)
    flip(address + 4 * 17)
    with pytest.raises(UserError, match="1 logits of position 2 differ.* that of token 17"):
        verifier.verify(session.outcome)
    flip(address + 4 * 17)
    line = compiled.config.line_bytes
    flip(compiled.memory.regions["kv"].line * line
         + compiled.config.kv_lines(1) * line + 5)      # the second layer's only head
    with pytest.raises(UserError, match="1 bytes of keys and values differ.* layer 1, head 0, "
                                        "byte 5"):
        verifier.verify(session.outcome)


def test_a_wrong_choice_is_found():
    compiled, device, session, verifier = verifier_after_a_run()
    text, = session.outcome.texts
    changed = replace(text, tokens=[*text.tokens[:-1], (text.tokens[-1] + 1) % 300])
    wrong = replace(session.outcome, texts=(changed,))
    with pytest.raises(UserError, match="after position 5, the reference"):
        verifier.verify(wrong)


def test_a_fault_is_reported_with_its_instruction():
    compiled, device = build("plain")
    words = list(compiled.words)
    words[7] = 63
    with pytest.raises(UserError, match=r"stopped with ILLEGAL at instruction 7 \(an illegal"):
        list(Session(device, replace(compiled, words=words)).tokens())
    words[7] = isa.encode("scatter", blocks=1, base=0, a=0)
    with pytest.raises(UserError, match=r"stopped with WRITE_WINDOW at instruction .* "
                                        r"address 0x0"):
        list(Session(device, replace(compiled, words=words)).tokens())
