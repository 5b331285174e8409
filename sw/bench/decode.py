"""Whole-token decode: bytes, cycles, and the share of memory's bandwidth."""

import sys
from typing import NamedTuple

from hw.formats import BLOCK, FORMATS
from sw.bench.random_model import SHAPES, shaped
from sw.bench.row import Row
from sw.compile.compiler import Compiled, compile_model
from sw.errors import UserError
from sw.models import load
from sw.models.bundled import model_path
from sw.runtime.session import Outcome, Session
from sw.runtime.verify import Verifier
from sw.tokenizer import Tokenizer


__all__ = ["Decode", "bits_a_weight", "decode", "rows", "useful_bytes"]


PROMPT = "Once upon a time"
TOKENS = 48

#: Cycles of memory; bytes a cycle from which on large models are measured, and their format.
LATENCIES, WIDE, LARGE = (60, 100), 16, "int4"


def shapes(model):
    """Rows and sizes of rows of a model's matrices, unpadded: of a layer in the order in which
    :class:`sw.compile.layers.QuantisedLayer` has them, and of the output matrix."""
    width = model.n_kv_heads * model.head
    return (((model.dim + 2 * width, model.dim), (model.dim, model.dim),
             (2 * model.hidden, model.dim), (model.dim, model.hidden)),
            (model.vocabulary, model.dim))


def matrix_bytes(shape, format):
    """Bytes of a matrix of ``shape`` (rows, size of a row) with its scales, and without padding."""
    (rows, size), format = shape, FORMATS[format]
    # A field of 16 bits has the scales of both halves of a block.
    scale = format.scale.bytes // 2 if format.group == BLOCK // 2 else format.scale.bytes
    groups = -(-size // (format.group or size))
    return rows * size * format.element.bits / 8 + rows * groups * scale + 4 * format.factor


def stored_bytes(model, quantised):
    """``(layers, output)``: bytes of the matrices of all layers, and of the output matrix."""
    of_layer, output = shapes(model)
    return (sum(matrix_bytes(shape, matrix.format) for layer in quantised.layers
                for shape, matrix in zip(of_layer, layer.matrices, strict=True)),
            matrix_bytes(output, quantised.classifier.format))


def bits_a_weight(model, quantised):
    """Bits in memory for each weight of a matrix, scales included."""
    of_layer, output = shapes(model)
    weights = sum(rows * size for rows, size in (*len(model.layers) * of_layer, output))
    return 8 * sum(stored_bytes(model, quantised)) / weights


def useful_bytes(model, quantised, positions, chosen):
    """Bytes that decoding must move: all weights, scales and gains of norms, keys and values, and
    embeddings, unpadded.

    Parameters
    ----------
    model : :class:`sw.models.Model`
    quantised : :class:`sw.compile.layers.QuantisedModel`
        The same; its matrices say their formats.
    positions : int
        Tokens that passed through the layers.
    chosen : int
        Tokens for which the output matrix was needed.
    """
    layers, output = stored_bytes(model, quantised)
    # A token's keys and values, with a code for 32 keys and one for all values.
    entry = len(model.layers) * model.n_kv_heads * (2 * model.head + -(-model.head // BLOCK) + 1)
    reads = sum(range(1, positions + 1)) * entry
    # A row of the embedding, and two gains for each layer; that of the last norm is kept.
    rows = 4 * model.dim * (1 + 2 * len(model.layers))
    return positions * (layers + entry + rows) + chosen * output + reads


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
