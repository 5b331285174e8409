"""Whole-token decode: bytes, cycles, and the share of memory's bandwidth."""

import sys
from typing import NamedTuple

from sw.bench.matrices import useful_bytes
from sw.bench.random_model import SHAPES, shaped
from sw.bench.row import Row
from sw.compile.compiler import Compiled, compile_model
from sw.errors import UserError
from sw.models import load
from sw.models.bundled import model_path
from sw.runtime.session import Outcome, Session
from sw.runtime.verify import Verifier
from sw.tokenizer import Tokenizer


__all__ = ["Decode", "bundled", "decode", "rows"]


PROMPT = "Once upon a time"
TOKENS = 48

#: Cycles of memory; bytes a cycle from which on large models are measured, and their format.
LATENCIES, WIDE, LARGE = (60, 100), 16, "int4"


class Decode(NamedTuple):
    """A measured run: what was compiled, what it gave, whether that is right, and bytes that it
    had to move."""

    compiled: Compiled
    outcome: Outcome
    correct: bool
    useful: float


def decode(model, config, prompt, tokens, format, *, latency=60, pin=()):
    """Run a model to its end twice: compared with the reference, and measured."""
    from sim.device import SimulatedDevice, Timing

    checked, compiled = (compile_model(model, config, prompt, tokens, format=format, check=check,
                                       chunk=1, pin=pin) for check in (True, False))
    timing = Timing(latency=latency)
    with SimulatedDevice(config, memory_bytes=checked.memory.bytes, timing=timing) as device:
        verifier = Verifier(device, checked)
        wanted, correct = run(device, checked), True
        try:
            verifier.verify(wanted)
        except UserError:
            correct = False
    # Measured without the logits' way to memory, which is only there for the check.
    with SimulatedDevice(config, memory_bytes=compiled.memory.bytes, timing=timing) as device:
        outcome = run(device, compiled)
    return Decode(compiled, outcome, correct and outcome.tokens == wanted.tokens,
                  useful_bytes(model, compiled.model, outcome.positions, len(outcome.tokens)))


def run(device, compiled):
    """Outcome of a run to its end."""
    session = Session(device, compiled)
    for _ in session.tokens():
        pass
    return session.outcome


def bundled():
    """The bundled model, and the tokens of :data:`PROMPT`."""
    path = model_path("bundled")
    model = load(path)
    return model, Tokenizer.beside(path, model.vocabulary, None).encode(PROMPT)


def cases(config):
    """``(model, prompt, tokens, format, latency)`` of all rows of a configuration.

    Large models need a wide memory, so that they do not take hours, and there the time that memory
    takes to answer matters more.
    """
    model, prompt = bundled()
    wide = config.word_bytes >= WIDE
    for format in config.formats:
        for latency in LATENCIES if wide else LATENCIES[:1]:
            yield model, prompt, TOKENS, format, latency
    if wide and LARGE in config.formats:
        for name in SHAPES:
            for latency in LATENCIES:
                yield shaped(name), [1, 2, 3], 2, LARGE, latency


def rows(config):
    """A :class:`Row` for each weight format of the configuration, and for larger models."""
    for model, prompt, tokens, format, latency in cases(config):
        case = f"{model.name} {format}, latency {latency}"
        print(f"{config}: {case}", file=sys.stderr)
        found = decode(model, config, prompt, tokens, format, latency=latency)
        counters, positions = found.outcome.counters, found.outcome.positions
        words = sum(counters[name] for name in ("w_words", "d_words", "g_words", "written"))
        useful, moved = found.useful / positions, words * config.word_bytes / positions
        cycles = counters["cycles"] / positions
        yield Row(
            case=f"{case}, {positions} tokens",
            config=config.name, cycles=cycles,
            limit=useful / config.word_bytes, correct=found.correct,
            command=f"tokamac bench decode --config {config.name}",
            more={"bytes_a_token": round(useful),
                  "moved_a_token": round(moved),
                  # What is lost: bytes that nobody needs, and cycles in which none moved.
                  "padding": (moved - useful) / config.word_bytes / cycles,
                  "idle": 1 - words / counters["cycles"],
                  **{f"{name}_share": counters[name] / counters["cycles"]
                     for name in ("busy", "memory", "dependency", "other")}})
