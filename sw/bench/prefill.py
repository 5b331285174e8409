"""A prompt of the bundled model: cycles beside what the multipliers allow."""

import numpy as np

from hw.formats import FORMATS
from sw.bench.decode import bundled
from sw.bench.matrices import shapes
from sw.bench.row import Row
from sw.compile.compiler import compile_model
from sw.errors import UserError
from sw.runtime.session import Session
from sw.runtime.verify import Verifier


__all__ = ["multiplications", "rows"]


#: Tokens of the prompt, and formats of weights.
PROMPT, FORMATS_SHOWN = 512, ("int8", "int4")


def multiplications(model, tokens):
    """``(of weights, of attention)``: products of a prompt that lead to the choice of one token.

    Weights of all layers but the last for every token; keys and values for each token and all
    tokens that it sees. Of the last layer keys and values for every token; all else, and the output
    matrix, for the last token alone.
    """
    of_layer, (rows_, size) = shapes(model)
    before = len(model.layers) - 1
    layer = sum(rows * inner for rows, inner in of_layer)
    keys = 2 * model.n_kv_heads * model.head * model.dim
    seen = tokens * (tokens + 1) // 2
    return ((before * layer + keys) * tokens + layer - keys + rows_ * size,
            model.n_heads * 2 * model.head * (before * seen + tokens))


def all_multiplications(model, tokens):
    """The same with all of the last layer for every token, which nobody needs."""
    of_layer, (rows_, size) = shapes(model)
    layer = sum(rows * inner for rows, inner in of_layer)
    return (len(model.layers) * layer * tokens + rows_ * size,
            len(model.layers) * model.n_heads * 2 * model.head * tokens * (tokens + 1) // 2)


def rows(config, latency=60):
    """A :class:`Row` for some weight formats of the configuration."""
    from sim.device import SimulatedDevice, Timing

    model, _ = bundled()
    rng = np.random.default_rng(1)
    prompt = [1, *(int(token) for token in rng.integers(3, model.vocabulary, PROMPT - 1))]
    for format in FORMATS_SHOWN:
        if format not in config.formats:
            continue
        compiled = compile_model(model, config, prompt, 1, format=format, check=True)
        with SimulatedDevice(config, memory_bytes=compiled.memory.bytes,
                             timing=Timing(latency=latency)) as device:
            verifier, correct = Verifier(device, compiled), True
            session = Session(device, compiled)
            for _ in session.tokens():
                pass
            try:
                verifier.verify(session.outcome)
            except UserError:
                correct = False
        counters = session.outcome.counters
        multipliers = 16 * config.slices * config.columns
        # A multiplier takes two weights of 4 bits; keys and values have 8.
        limit, of_all = (weights / (multipliers * 2 / FORMATS[format].beats)
                         + attention / multipliers
                         for weights, attention in (multiplications(model, PROMPT),
                                                    all_multiplications(model, PROMPT)))
        yield Row(
            case=f"{model.name} {format}, prompt of {PROMPT} tokens, latency {latency}",
            config=config.name, cycles=counters["cycles"], limit=limit, correct=correct,
            command=f"tokamac bench prefill --config {config.name}",
            more={"cycles_a_token": round(counters["cycles"] / PROMPT),
                  "limit_of_all_layers": of_all, "fraction_of_all_layers":
                  of_all / counters["cycles"],
                  **{f"{name}_share": counters[name] / counters["cycles"]
                     for name in ("busy", "memory", "dependency", "other")}})
