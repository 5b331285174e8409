"""Held-out losses of the bundled model: a file of numbers, and the model card's table of them."""

import tomllib
from pathlib import Path

from sw.files import write_whole


__all__ = ["ACTIVATIONS", "read_losses", "table", "write_losses"]


BUNDLED = Path(__file__).parents[1] / "bundled"

#: Columns of the table.
ACTIVATIONS = ("float32", "int8")

HEAD = "| weights | float32 activations | INT8 activations |"


def read_losses(folder=BUNDLED):
    """Nats a token by weights, then by activations."""
    return tomllib.loads((Path(folder) / "losses.toml").read_text())


def table(losses):
    """Lines of the card's table."""
    return [HEAD, "|---|---|---|",
            *(f"| {weights} | {' | '.join(f'{values[name]:.4f}' for name in ACTIVATIONS)} |"
              for weights, values in losses.items())]


def write_losses(losses, folder=BUNDLED):
    """Write the numbers, and their table into ``MODEL_CARD.md`` in place of the one there."""
    folder = Path(folder)
    write_whole(folder / "losses.toml", "".join([
        "# Held-out loss of stories1m.bin in nats a token, by weights and activations; written by\n"
        "# `python -m sw.train.evaluate --data DIR --write`.\n\n",
        *(f"{weights} = {{ {', '.join(f'{name} = {values[name]:.4f}' for name in ACTIVATIONS)} }}\n"
          for weights, values in losses.items())]))
    card = (folder / "MODEL_CARD.md").read_text().splitlines()
    first = card.index(HEAD)
    last = next(n for n in range(first, len(card)) if not card[n].startswith("|"))
    write_whole(folder / "MODEL_CARD.md",
                "\n".join([*card[:first], *table(losses), *card[last:]]) + "\n")
