"""Measure the stored model: held-out loss in all number formats, and a sample.

    python -m sw.train.evaluate --data DIR

With ``--write``, the losses go where the model card and ``tokamac bench formats`` have them from.
"""

import argparse
import math
from pathlib import Path

from hw.formats import ACTIVATIONS, FORMATS, supported
from sw.models import load
from sw.tokenizer import Tokenizer
from sw.train.corpus import held_out
from sw.train.inference import WEIGHTS, Inference
from sw.train.losses import Case, write_losses


__all__ = ["mean_loss"]

BUNDLED = Path(__file__).parents[1] / "bundled"

#: What is measured.
CASES = [Case(weights, activations) for weights in WEIGHTS
         for activations in ("float32", *ACTIVATIONS)
         if weights == "float32" or activations == "float32"
         or supported(FORMATS[weights], activations)]
CASES += [Case("int8", "int8", "up"), Case("mxfp8", "e4m3", "up", "e4m3"),
          Case("int8", "e4m3", "up"), Case("mxfp4", "int8", "up"),
          Case("int8", "int8", "floor", "e4m3"), Case("int8", "int8", "up", "e4m3"),
          Case("int8", "int8", "floor", "e5m2"), Case("int8", "int8", "up", "e5m2"),
          Case("int8", "int8", "floor", "int4"), Case("int8", "int8", "up", "int4")]


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
    parser.add_argument("--write", action="store_true",
                        help="write losses.toml, and the tables of the model card")
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--tokens", type=int, default=200, help="longest sample")
    args = parser.parse_args()
    if args.write and not args.data:
        parser.error("--write needs --data")
    model, tokenizer = load(args.model), Tokenizer.load(args.tokenizer)
    if args.data:
        ids = held_out(args.data, tokenizer)
        size = len(tokenizer.decode(ids).encode())
        print(f"held out: {len(ids)} tokens, {size} bytes")
        print("weights   activations rule  kv    nats/token  above float32  bits/byte")
        losses = {}
        for case in CASES:
            weights, activations, rule, kv = case
            loss = mean_loss(Inference(model, weights, activations, rule=rule, kv=kv), ids)
            losses[case] = loss
            exact, bits = losses[CASES[0]], loss / math.log(2) * len(ids) / size
            print(f"{weights:9} {activations:11} {rule:5} {kv:5} {loss:10.4f} {loss - exact:14.4f}"
                  f" {bits:10.4f}", flush=True)
        if args.write:
            write_losses(losses)
    sample = Inference(model, "int4", "int8").greedy(tokenizer.encode(args.prompt), args.tokens)
    print(tokenizer.decode(sample))


if __name__ == "__main__":
    main()
