"""Decode of a model whose weights, keys and values are pinned to the die, or streamed."""

import sys

from sw.bench.decode import bundled, decode
from sw.bench.row import Row


__all__ = ["limit", "rows"]


#: What is pinned.
PINS = ((), ("kv",), ("weights",), ("weights", "kv"))

FORMAT = "int4"

#: Tokens that two runs write, whose difference is measured: both read at the beginning what is
#: pinned.
SHORT, LONG = 8, 40


def limit(counts, config):
    """Cycles that so many events take at least: the largest of three limits.

    Memory gives a word a cycle; this is the limit if nothing is pinned. A beat a cycle passes, of
    the cache or of words. And the array multiplies a beat a cycle, but not while it has nothing to
    multiply, because that depends on attention, norms and quantisers before it. The cycles of this
    chain are measured, not computed.
    """
    read = counts["w_words"] + counts["d_words"]
    return max(read + counts["g_words"], counts["hits"] + read / config.beat_words,
               counts["busy"] + counts["dependency"] + counts["other"])


def rows(config, latency=60):
    """A :class:`Row` for each choice of what is pinned, of a machine whose cache holds all."""
    model, prompt = bundled()
    for pin in PINS:
        name = ",".join(pin) or "none"
        print(f"{config}: pin {name}", file=sys.stderr)
        short, long = (decode(model, config, prompt, tokens, FORMAT, latency=latency, pin=pin)
                       for tokens in (SHORT, LONG))
        first, end = short.outcome.positions, long.outcome.positions
        counts = {key: (value - short.outcome.counters[key]) / (end - first)
                  for key, value in long.outcome.counters.items()}
        yield Row(
            case=f"{model.name} {FORMAT}, pin {name}, positions {first} to {end - 1}, "
                 f"latency {latency}",
            config=config.name, cycles=counts["cycles"], limit=limit(counts, config),
            correct=short.correct and long.correct,
            command=f"tokamac bench memory --config {config.name}",
            more={"words": round(counts["w_words"] + counts["d_words"] + counts["g_words"]),
                  **{key: round(counts[key]) for key in (
                      "hits", "busy", "memory", "dependency", "other")}})
