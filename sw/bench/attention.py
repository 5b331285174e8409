"""Attention of one layer: cycles beside what memory or the array allow."""

import sys
from functools import reduce

import numpy as np

from sw.bench.attention_data import Case, Head, queries
from sw.bench.attention_program import Layout, decode, prefill
from sw.bench.attention_whole import fits, measure_whole, whole_limit
from sw.bench.machine import execute
from sw.bench.row import Row
from verif.reference.floats import add


__all__ = ["cases", "limit", "measure", "rows"]


#: Contexts of dense decoding, and the longest one.
TOKENS, LONGEST = (1024, 8192, 32768, 200_000), 200_000

#: A machine has stopped if it takes so many times the limit, and so many cycles more.
MOST_SLOWER, SHORTEST = 8, 1_000_000

#: Positions of a prompt.
PROMPT = 512


def say(text):
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def shapes(config):
    """``(head, query heads of a KV head)`` that are measured on a machine."""
    largest = (config.max_head, 4 if config.max_head > 64 else 2)
    return [largest, (largest[0] // 2, largest[1])]


def cases(config):
    """``(name, Case, tokens of a chunk)`` of all rows but the last; chunks of 0 decode."""
    for head, number in shapes(config):
        shape = dict(head=head, queries=number)
        for tokens in TOKENS:
            yield f"dense, {tokens}", Case(**shape, tokens=tokens), 0
        yield "window 4096 and 4 sinks", Case(**shape, tokens=LONGEST, window=4096, sinks=4), 0
        if config.pages:
            yield "sparse 1/16", Case(**shape, tokens=LONGEST, window=256, sinks=4, share=4), 0
        if number <= config.kv_groups:
            yield "prompt", Case(**shape, tokens=PROMPT), config.columns


def limit(config, case, chunk=0):
    """Cycles that memory and, for a prompt, the multipliers allow: the larger of the two."""
    if not chunk:
        return case.bytes / config.word_bytes
    return max(prompt_bytes(case, chunk) / config.word_bytes, multiplications(case)
               / (16 * config.slices * config.columns))


def multiplications(case):
    """Of the queries of all tokens with the keys that they see, and with values."""
    seen = case.tokens * (case.tokens + 1) // 2
    return 2 * case.head * seen * case.queries * case.kv_heads


def prompt_bytes(case, chunk):
    """Bytes that are read: once a chunk what it sees."""
    return sum(range(chunk, case.tokens + 1, chunk)) * case.bytes // case.tokens


def measure(device, case, chunk=0, *, seed=1):
    """``(cycles, correct)`` of attention on a device."""
    config, rng = device.config, np.random.default_rng(seed)
    layout = Layout(config, case, chunk)
    heads = [Head(case, rng) for _ in range(case.kv_heads)]
    x = queries(case, rng, case.kv_heads * layout.vectors)
    images = layout.place_images("kv", [head.kv_image(config) for head in heads])
    if case.share:
        images += layout.place_images("bounds", [head.bounds_image(config) for head in heads])
    for address, data in images:
        device.load(address, data)
    for name, data in (("queries", x.tobytes()), ("results", bytes(x.nbytes))):
        device.write(layout.lines[name] * config.line_bytes, data)
    most = MOST_SLOWER * limit(config, case, chunk) + SHORTEST
    cycles = execute(device, (prefill if chunk else decode)(layout), int(most))

    # Vectors of a chunk are its tokens again and again, for each query head.
    first = chunk * np.arange(layout.chunks)[:, None]
    positions = (first + np.tile(np.arange(chunk), layout.groups) if chunk
                 else np.full((1, layout.vectors), case.tokens - 1)).reshape(-1)
    wanted = np.stack([chunks_added(head.attention(np.tile(own, (layout.chunks, 1)), positions),
                                    layout.chunks)
                       for head, own in zip(heads, np.split(x, case.kv_heads))])
    got = device.read(layout.lines["results"] * config.line_bytes, wanted.nbytes)
    return cycles, got == wanted.tobytes()


def chunks_added(outputs, chunks):
    """The sum of the outputs of all chunks, in their order."""
    return reduce(add, np.split(outputs, chunks))


def rows(config):
    """A :class:`Row` for each case, and one for the attention of a whole small layer."""
    from sim.device import SimulatedDevice

    command, dense = f"tokamac bench attention --config {config.name}", {}
    for name, case, chunk in cases(config):
        say(f"{config.name}, heads of {case.head}: {name}")
        with SimulatedDevice(config) as device:
            cycles, correct = measure(device, case, chunk)
        more = ({"array": multiplications(case) / (16 * config.slices * config.columns) / cycles}
                if chunk else {"bytes": case.bytes})
        if name.startswith("dense"):
            dense[case.head, case.tokens] = cycles / case.bytes
        elif not chunk:
            # How much longer than dense attention of the same tokens would take for these bytes.
            more["to_dense"] = cycles / case.bytes / dense[case.head, case.tokens]
        yield Row(case=f"{name}, heads of {case.head}", config=config.name, cycles=cycles,
                  limit=limit(config, case, chunk), correct=correct, command=command, more=more)
    if not fits(config):
        return
    say(f"{config.name}: projections and attention of 64 tokens")
    with SimulatedDevice(config) as device:
        cycles, correct = measure_whole(device)
    yield Row(case="S = E = P = 64 with projections", config=config.name, cycles=cycles,
              limit=whole_limit(config), correct=correct, command=command)
