"""What a benchmark reports."""

import json
from dataclasses import asdict, dataclass, field

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


__all__ = ["Row", "show"]


@dataclass(kw_only=True)
class Row:
    """One measurement.

    Parameters
    ----------
    case, config : str
        What was measured, on which configuration.
    cycles : float or None
        Clock cycles of the simulated machine; None where none were simulated.
    limit : float or None
        Cycles that physics allows.
    command : str
        What reproduces the row.
    correct : bool
        Whether the result equals the reference.
    more : dict
        Further figures, by name.
    """

    case: str
    config: str
    cycles: float | None = None
    limit: float | None = None
    command: str
    correct: bool = True
    more: dict = field(default_factory=dict)

    @property
    def fraction(self):
        """Limit over cycles: 1 is perfect."""
        return self.limit / self.cycles if self.limit and self.cycles else None

    def as_dict(self):
        """All figures, flat."""
        values = asdict(self)
        more = values.pop("more")
        return {**values, "fraction": self.fraction, **more}


def show(rows, title, *, as_json=False):
    """Print rows as a table, or as a JSON list; whether all of them are correct."""
    rows = list(rows)
    if as_json:
        print(json.dumps([row.as_dict() for row in rows], indent=2))
    else:
        names = list(dict.fromkeys(name for row in rows for name in row.as_dict()))
        names = [name for name in names if name not in ("command", "correct")
                 and any(row.as_dict().get(name) is not None for row in rows)]
        table = Table(title=title, box=box.SIMPLE, title_justify="left")
        for name in names:
            table.add_column(name, justify="left" if name in ("case", "config") else "right",
                             no_wrap=True)
        for row in rows:
            values = row.as_dict()
            table.add_row(*(form(values.get(name)) for name in names),
                          style=None if row.correct else "red")
        # Rows stay on one line, also where the terminal is narrower.
        console = Console()
        console.width = max(console.width, Measurement.get(
            console, console.options.update(width=1000), table).maximum)
        console.print(table)
        for command in dict.fromkeys(row.command for row in rows):
            print(f"reproduce with: {command}")
    wrong = [row.case for row in rows if not row.correct]
    if wrong and not as_json:
        print(f"WRONG RESULTS: {', '.join(wrong)}")
    return not wrong


def form(value):
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)
