"""Held-out loss of a llama2.c model: float32, rounded weights, and the machine's arithmetic.

    python -m tests.held_out MODEL TEXT [--tokens 20000] [--context 256]
"""

import argparse
from pathlib import Path

from sw.compile.layers import quantise_model
from sw.models import load
from sw.tokenizer import Tokenizer
from tests.models import float_loss, rounded
from verif.reference.forward import loss


__all__ = ["main"]


def main():
    """Measure the last tokens of a text."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--context", type=int, default=256)
    args = parser.parse_args()
    model = load(args.model)
    tokenizer = Tokenizer.beside(args.model, model.vocabulary)
    # Enough characters for any tokenizer of up to 4 characters a token.
    text = Path(args.text).read_text()[-4 * args.tokens:]
    tokens = tokenizer.encode(text, bos=False)[-args.tokens - 1:]
    print(f"float32                       {float_loss(model, tokens, args.context):.4f}")
    for format in ("int8", "int4"):
        weights = float_loss(rounded(model, format), tokens, args.context)
        print(f"{format} weights, float32 beside {weights:.4f}", flush=True)
        machine = loss(quantise_model(model, format), tokens, args.context, batch=128)
        print(f"{format}, the machine            {machine:.4f}", flush=True)


if __name__ == "__main__":
    main()
