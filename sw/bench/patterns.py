"""What windows, sinks and chosen pages cost in accuracy.

Two tasks: held-out loss of the bundled model, and finding a word far back in a text.

    tokamac bench patterns
    python -m sw.bench.patterns --data DIR
    python -m sw.bench.patterns --data DIR --exact

The second command measures the loss on the held-out text of the model card, and prints a table; the
third one does so on its first texts, and computes every bit as the machine does.
"""

import argparse
from dataclasses import replace

import numpy as np

from hw.formats import BLOCK
from sw.bench.needle import PATTERNS, Exact, Machine, found
from sw.bench.row import Row
from sw.compile.layers import quantise_model
from sw.models import load
from sw.models.attention import Attention
from sw.models.bundled import model_path
from sw.tokenizer import Tokenizer
from sw.train.corpus import held_out
from sw.train.inference import Inference
from sw.train.own_stories import own_stories
from sw.train.sight import Sight
from verif.reference.forward import State, forward, log_likelihood


__all__ = ["SIGHTS", "exact_loss", "losses", "own_text", "rows"]


#: What the bundled model sees, by name. Its context is short, so a page is one KV block.
SIGHTS = {
    "dense": Sight(),
    **{f"window {window}" + (f", {sinks} sinks" if sinks else ""):
       Sight(window=window, sinks=sinks) for window in (32, 64, 128, 256) for sinks in (0, 4)},
    "window 64, 4 sinks, every second layer": Sight(window=64, sinks=4, every=2),
    "sparse 1/4": Sight(window=32, sinks=4, share=2, page=0),
    "sparse 1/8": Sight(window=32, sinks=4, share=3, page=0),
}

#: Those of which the loss is also computed bit by bit.
EXACT = ("dense", "window 64, 4 sinks", "window 64, 4 sinks, every second layer")

#: Positions of a text, and texts that ``tokamac bench`` measures.
LENGTH, TEXTS = 512, 8

#: Seed of stories on which the model was not trained.
UNSEEN = 987_654_321

#: Contexts in which a word is looked for.
CONTEXTS = (512, 2048, 8192)

#: Tokens in which one pair stands, where several share a page.
CROWDED = (128, 64, 32)


def own_text(tokenizer, texts=TEXTS):
    """Stories that the project composes, one after the other: ``[texts, LENGTH]`` tokens."""
    ids, stories = [], iter(own_stories(40 * texts, UNSEEN))
    while len(ids) < texts * LENGTH:
        ids += tokenizer.encode(next(stories))
    return np.reshape(ids[:texts * LENGTH], (texts, LENGTH))


def losses(model, text, sight, activations):
    """Mean loss in nats of a token, of all tokens and of those in the second half of the texts."""
    inference = Inference(model, "float32", activations, sight=sight)
    found = np.array([inference.losses(ids) for ids in text])
    return found.mean(), found[:, LENGTH // 2:].mean()


def exact_loss(model, text, sight):
    """Mean loss of a token with INT8 weights, bit by bit that of the machine."""
    sees = tuple(Attention() if sight.dense(n) else Attention(sight.window, sight.sinks)
                 for n in range(len(model.layers)))
    model = quantise_model(replace(model, attention=sees), "int8")
    texts, length = text.shape
    state, total = State.empty(model, texts, length), 0.0
    for position in range(length - 1):
        logits = forward(model, text[:, position], position, state)
        total -= log_likelihood(logits, text[:, position + 1]).sum()
    return total / (texts * (length - 1))


def bundled():
    """The bundled model and its tokenizer."""
    path = model_path("bundled")
    model = load(path)
    return model, Tokenizer.beside(path, model.vocabulary)


def loss_rows(model, text, name, command, sights=None):
    """A :class:`Row` for each of ``sights``: losses with all products in float32, and with their
    operands rounded as the machine rounds them."""
    for case, sight in (SIGHTS if sights is None else sights).items():
        exact, rounded = (losses(model, text, sight, kind) for kind in ("float32", "int8"))
        yield Row(case=f"{name}: {case}", config="", command=command,
                  more={"float32": exact[0], "rounded": rounded[0], "float32_late": exact[1],
                        "rounded_late": rounded[1]})


def needle_rows(command):
    """A :class:`Row` for each context and pattern: share of right answers by distance."""
    for context in CONTEXTS:
        exact, machine = (found(arithmetic, context) for arithmetic in (Exact(), Machine()))
        for name in PATTERNS:
            distances, right = machine[name]
            # Words up to 256 tokens back, up to 1024, and so on.
            ends = [end for end in (256, 1024, 8192) if end < 4 * context]
            shares = {f"to_{end}": float(right[(distances <= end) & (distances > start)].mean())
                      for start, end in zip((0, *ends), ends)}
            yield Row(case=f"word in {context} tokens: {name}", config="", command=command,
                      more={"float32": float(exact[name][1].mean()),
                            "machine": float(right.mean()), **shares})


def crowded_rows(command):
    """A :class:`Row` for each number of words that share a page."""
    sparse = {"sparse 1/16": PATTERNS["sparse 1/16"]}
    size = BLOCK << PATTERNS["sparse 1/16"].page
    for spacing in CROWDED:
        exact, machine = (found(arithmetic, 4096, sparse, spacing=spacing)["sparse 1/16"][1]
                          for arithmetic in (Exact(), Machine()))
        yield Row(case=f"word in 4096 tokens: sparse 1/16, {size // spacing} words a page",
                  config="", command=command,
                  more={"float32": float(exact.mean()), "machine": float(machine.mean())})


def rows(config=None):
    """A :class:`Row` for each pattern and task; no machine is simulated."""
    command = "tokamac bench patterns"
    model, tokenizer = bundled()
    yield from loss_rows(model, own_text(tokenizer), "loss of own stories", command)
    yield from needle_rows(command)
    yield from crowded_rows(command)


def main():
    """Print a table of losses on the held-out text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with the text of the bundled model")
    parser.add_argument("--exact", action="store_true",
                        help=f"the machine's arithmetic, {TEXTS} texts, windows only")
    args = parser.parse_args()
    model, tokenizer = bundled()
    ids = held_out(args.data, tokenizer)
    text = np.reshape(ids[:len(ids) // LENGTH * LENGTH], (-1, LENGTH))
    if args.exact:
        print("| attention | float32 | machine |\n|---|---:|---:|")
        for name in EXACT:
            found = (losses(model, text[:TEXTS], SIGHTS[name], "float32")[0],
                     exact_loss(model, text[:TEXTS], SIGHTS[name]))
            print(f"| {name} | " + " | ".join(f"{x:.4f}" for x in found) + " |", flush=True)
        return
    print("| attention | float32 | rounded | float32, second half | rounded, second half |")
    print("|---|---:|---:|---:|---:|")
    for row in loss_rows(model, text, "", ""):
        print(f"| {row.case[2:]} | " + " | ".join(f"{x:.4f}" for x in row.more.values()) + " |",
              flush=True)


if __name__ == "__main__":
    main()
