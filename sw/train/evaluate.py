"""Measure the stored model: held-out loss in all number formats, and a sample.

    python -m sw.train.evaluate --data DIR
"""

import argparse
import math
from pathlib import Path

from hw.formats import ACTIVATIONS, FORMATS, supported
from sw.models import load
from sw.tokenizer import Tokenizer
from sw.train.corpus import held_out
from sw.train.inference import WEIGHTS, Inference


__all__ = ["mean_loss"]

BUNDLED = Path(__file__).parents[1] / "bundled"

#: Weights, activations, scale rule, keys and values of the lines of the table.
CASES = [(weights, activations, "floor", "int8") for weights in WEIGHTS
         for activations in ("float32", *ACTIVATIONS)
         if weights == "float32" or activations == "float32"
         or supported(FORMATS[weights], activations)]
CASES += [("int8", "int8", "up", "int8"), ("mxfp8", "e4m3", "up", "e4m3"),
          ("int8", "e4m3", "up", "int8"), ("mxfp4", "int8", "up", "int8"),
          ("int8", "int8", "floor", "e4m3"), ("int8", "int8", "up", "e4m3"),
          ("int8", "int8", "floor", "e5m2"), ("int8", "int8", "up", "e5m2")]


def mean_loss(inference, ids, length=512):
    """Return the mean loss in nats per token over whole windows of ``length`` ids.

    The first id of a window is given, the others are predicted.
    """
    windows = [ids[at:at + length] for at in range(0, len(ids) - length + 1, length)]
    if not windows:
        raise ValueError(f"{len(ids)} tokens are less than one window of {length}")
    return sum(map(inference.loss, windows)) / (len(windows) * (length - 1))


def main():
    """Print the losses and a greedy continuation of a prompt."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder with the held-out text; without it, only a sample")
    parser.add_argument("--model", default=BUNDLED / "stories1m.bin")
    parser.add_argument("--tokenizer", default=BUNDLED / "tokenizer.bin")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--tokens", type=int, default=200, help="longest sample")
    args = parser.parse_args()
    model, tokenizer = load(args.model), Tokenizer.load(args.tokenizer)
    if args.data:
        ids = held_out(args.data, tokenizer)
        size = len(tokenizer.decode(ids).encode())
        print(f"held out: {len(ids)} tokens, {size} bytes")
        print("weights   activations rule  kv    nats/token  above float32  bits/byte")
        exact = None
        for weights, activations, rule, kv in CASES:
            loss = mean_loss(Inference(model, weights, activations, rule=rule, kv=kv), ids)
            exact = loss if exact is None else exact
            bits = loss / math.log(2) * len(ids) / size
            print(f"{weights:9} {activations:11} {rule:5} {kv:5} {loss:10.4f} {loss - exact:14.4f}"
                  f" {bits:10.4f}", flush=True)
    sample = Inference(model, "int4", "int8").greedy(tokenizer.encode(args.prompt), args.tokens)
    print(tokenizer.decode(sample))


if __name__ == "__main__":
    main()
