"""Whole-token decode of the bundled model: bytes, cycles, and the share of memory's bandwidth."""

from hw.formats import FORMATS
from sw.bench.row import Row
from sw.compile.compiler import compile_model
from sw.errors import UserError
from sw.models import load
from sw.models.bundled import model_path
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from sw.tokenizer import Tokenizer


__all__ = ["rows", "useful_bytes"]


PROMPT = "Once upon a time"
TOKENS = 48


def useful_bytes(model, format, positions, chosen):
    """Bytes that decoding must move: weights and scales, keys and values, embeddings, unpadded.

    Parameters
    ----------
    model : :class:`sw.models.Model`
    format : str
    positions : int
        Tokens that passed through the layers.
    chosen : int
        Tokens for which the output matrix was needed.
    """
    head = model.dim // model.n_heads
    width = model.n_kv_heads * head
    layers = len(model.layers)

    def stored(rows, size):
        return rows * size * FORMATS[format].bits(size) / 8

    matrices = layers * (stored(2 * (model.dim + width + model.hidden), model.dim)
                         + stored(model.dim, model.hidden))
    # A token's keys and values, with a code for 32 keys and one for all values.
    entry = layers * model.n_kv_heads * (2 * head + head / 32 + 1)
    reads = sum(range(1, positions + 1)) * entry
    return (positions * matrices + chosen * stored(model.vocabulary, model.dim)
            + reads + positions * (entry + 4 * model.dim))


def rows(config, latency=60):
    """A :class:`Row` for each weight format of the configuration."""
    from sim.device import SimulatedDevice, Timing

    path = model_path("bundled")
    model = load(path)
    prompt = Tokenizer.beside(path, model.vocabulary, None).encode(PROMPT)
    for format in config.formats:
        checked = compile_model(model, config, prompt, TOKENS, format=format, check=True)
        compiled = compile_model(model, config, prompt, TOKENS, format=format)
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
        counters, positions = outcome.counters, outcome.positions
        words = sum(counters[name] for name in ("w_words", "d_words", "g_words", "written"))
        useful = useful_bytes(model, format, positions, len(outcome.tokens)) / positions
        cycles = counters["cycles"] / positions
        yield Row(
            case=f"{path.stem} {format}, {positions} tokens, latency {latency}",
            config=config.name, cycles=cycles, limit=useful / config.word_bytes,
            correct=correct and outcome.tokens == wanted.tokens,
            command=f"tokamac bench decode --config {config.name}",
            more={"bytes_a_token": round(useful),
                  "moved_a_token": round(words * config.word_bytes / positions),
                  "memory_busy": words / counters["cycles"],
                  **{f"{name}_share": counters[name] / counters["cycles"]
                     for name in ("busy", "memory", "dependency", "other")}})


def run(device, compiled):
    """Outcome of a run to its end."""
    session = Session(device, compiled)
    for _ in session.tokens():
        pass
    return session.outcome
