"""Held-out losses of the bundled model: a file of numbers, and the model card's tables of them."""

import tomllib
from pathlib import Path
from typing import NamedTuple

from hw.formats import ACTIVATIONS
from sw.files import write_whole


__all__ = ["Case", "read_losses", "tables", "write_losses"]


BUNDLED = Path(__file__).parents[1] / "bundled"

#: Lines of the model card around its tables.
BEGIN, END = "<!-- losses, written by sw.train.evaluate -->", "<!-- end of losses -->"

NOTE = ("# Held-out losses of stories1m.bin in nats a token, written by\n"
        "# python -m sw.train.evaluate --data DIR --write\n\n")


class Case(NamedTuple):
    """What the numbers of a forward pass are rounded to."""

    weights: str
    activations: str
    rule: str = "floor"
    kv: str = "int8"


def read_losses(folder=BUNDLED):
    """Nats a token by :class:`Case`."""
    text = (Path(folder) / "losses.toml").read_text()
    return {Case(*case): loss for *case, loss in tomllib.loads(text)["losses"]}


def tables(losses):
    """Lines of the card: weights and activations in the usual rounding, then the other cases."""
    columns = ("float32", *ACTIVATIONS)
    usual  = [case for case in losses if case == Case(case.weights, case.activations)]
    others = [case for case in losses if case not in usual]

    def line(*cells):
        return f"| {' | '.join(cells)} |"

    def number(case):
        return f"{losses[case]:.4f}" if case in losses else ""

    return [
        line("weights", *(f"{name} activations" for name in columns)),
        "|---|" + "---:|" * len(columns),
        *(line(weights, *(number(Case(weights, name)) for name in columns))
          for weights in dict.fromkeys(case.weights for case in usual)),
        "",
        line("weights", "activations", "scale rule", "keys and values", "loss"),
        "|---|---|---|---|---:|",
        *(line(*case, number(case)) for case in others),
    ]


def write_losses(losses, folder=BUNDLED):
    """Write the numbers, and their tables into ``MODEL_CARD.md`` in place of those there."""
    folder = Path(folder)
    rows = (", ".join(f'"{name}"' for name in case) + f", {loss:.4f}"
            for case, loss in losses.items())
    write_whole(folder / "losses.toml",
                NOTE + "losses = [\n" + "".join(f"    [{row}],\n" for row in rows) + "]\n")
    before, rest = (folder / "MODEL_CARD.md").read_text().split(f"{BEGIN}\n")
    after = rest.split(f"{END}\n")[1]
    text = "\n".join(["", *tables(losses), "", ""])
    write_whole(folder / "MODEL_CARD.md", f"{before}{BEGIN}\n{text}{END}\n{after}")
