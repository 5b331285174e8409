"""Measure quantisers of weights: held-out loss of a model in several formats.

    python -m sw.calibrate.evaluate --data DIR
    python -m sw.calibrate.evaluate --model MODEL --text FILE
"""

import argparse
import time
from pathlib import Path

import numpy as np

from sw.models import load
from sw.models.bundled import model_path
from sw.models.stored import Stored
from sw.quantise import quantise_weights
from sw.tokenizer import Tokenizer
from sw.train.corpus import HELD_OUT_TOKENS, held_out
from sw.train.evaluate import mean_loss
from sw.train.inference import OPERANDS, Inference

from .choice import first_token
from .model import calibrated
from .text import from_file, written
from .weights import KINDS, columns, placed, places, restored


__all__ = ["nearest"]

#: What is measured if nothing is asked for.
DEFAULTS = "int4,mxfp4,nvfp4,int4g128,int8"


def nearest(model, format):
    """The model, whose weights are arrays, as the compiler rounds it."""
    weights, found = dict(places(model)), {}
    for names in KINDS.values():
        for n in range(len(model.layers)) if names != KINDS["output"] else [len(model.layers)]:
            parts = [columns(model, name, weights[n, name]) for name in names]
            q, scales, factor = quantise_weights(np.concatenate(parts), format)
            ends = np.cumsum([len(part) for part in parts])[:-1]
            for name, integers, scale in zip(names, np.split(q, ends), np.split(scales, ends)):
                found[n, name] = Stored(integers, scale, format, factor)
    return placed(model, found)


def last_tokens(path, tokenizer, count=HELD_OUT_TOKENS):
    """The last tokens of a text, of up to 4 characters each."""
    text = Path(path).read_text(encoding="utf-8")[-4 * count:]
    return tokenizer.encode(text, bos=False)[-count:]


#: What is left out of the quantiser, with --parts.
PARTS = {"gptq alone": dict(search=False, correct=False), "and scales": dict(correct=False),
         "and correction": {}}


def main():
    """Print a table of losses."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--data", help="folder with the text of the bundled model")
    parser.add_argument("--text", help=f"file of which the last {HELD_OUT_TOKENS} tokens are held "
                                       "out")
    parser.add_argument("--formats", default=DEFAULTS, help="names with commas between")
    parser.add_argument("--calibration", help="text to calibrate with; by default the model's own")
    parser.add_argument("--seed", type=int, default=0, help="of the model's own text")
    parser.add_argument("--parts", action="store_true", help="measure what each part adds")
    parser.add_argument("--activations", default="float32", choices=OPERANDS)
    parser.add_argument("--window", type=int, default=512, help="tokens that are seen at once")
    args = parser.parse_args()
    if (args.data is None) == (args.text is None):
        parser.error("one of --data and --text is needed")
    path = model_path(args.model)
    model = restored(load(path))
    tokenizer = Tokenizer.beside(path, model.vocabulary)
    ids = held_out(args.data, tokenizer) if args.data else last_tokens(args.text, tokenizer)
    text = (from_file(args.calibration, tokenizer, model.context) if args.calibration
            else written(model, first_token(tokenizer), seed=args.seed))

    def loss(model, activations=args.activations):
        return mean_loss(Inference(restored(model), "float32", activations), ids, args.window)

    exact = loss(model, "float32")
    print(f"{model.name}, {len(ids)} held-out tokens, {args.activations} activations; loss with "
          f"float32 {exact:.4f}, and above it in brackets\n")
    parts = PARTS if args.parts else {"gptq": {}}
    print(f"| format | nearest | {' | '.join(parts)} | seconds |")
    print(f"|---|{'---:|' * (2 + len(parts))}")
    for format in args.formats.split(","):
        found = [loss(nearest(model, format))]
        for options in parts.values():
            start = time.perf_counter()
            corrected = calibrated(model, format, text, **options)
            seconds = time.perf_counter() - start
            found.append(loss(corrected))
        losses = " | ".join(f"{value:.4f} ({value - exact:+.4f})" for value in found)
        print(f"| `{format}` | {losses} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
