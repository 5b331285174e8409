"""Draws tokens a cycle over the width of memory, a curve for each batch."""

from itertools import groupby
from pathlib import Path

from sw.errors import UserError


__all__ = ["check", "draw"]


#: Kinds of files that can be written.
KINDS = (".svg", ".png")


def check(path):
    """Raise :class:`UserError` if no picture can be written there."""
    path = Path(path)
    if path.suffix not in KINDS:
        raise UserError(f"a picture ends in {' or '.join(KINDS)}, not {path.name!r}")
    if not path.resolve().parent.is_dir():
        raise UserError(f"the folder of {path} does not exist")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("pictures need matplotlib: pip install 'tokamac[plot]'") from None


def draw(rows, path):
    """Write the picture of rows of :func:`sw.bench.width.rows`: a panel for each array."""
    import matplotlib

    # The same rows give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "tokamac"
    from matplotlib.figure import Figure

    panels = [(name, list(group)) for name, group in groupby(
        rows, key=lambda row: row.case.partition(",")[0])]
    figure = Figure(figsize=(4.2 * len(panels), 4.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, group) in zip(axes, panels):
        draw_panel(axis, title, group)
    axes[0].set_ylabel("tokens of a layer in a million cycles")
    figure.savefig(path, metadata={"Date": None} if Path(path).suffix == ".svg" else None)


def draw_panel(axis, title, rows):
    """Curves are limits; full dots are measured, empty ones modelled."""
    from matplotlib import colormaps

    batches = sorted({row.more["batch"] for row in rows})
    for number, batch in enumerate(batches):
        colour = colormaps["viridis"](0.95 * number / max(1, len(batches) - 1))
        own = sorted((row.more for row in rows if row.more["batch"] == batch),
                     key=lambda more: more["width"])
        axis.plot(*limit(own), color=colour, linewidth=1, label=f"batch {batch}")
        for source, face in (("RTL", colour), ("model", "white")):
            points = [more for more in own if more["source"] == source]
            axis.plot([more["width"] for more in points],
                      [more["tokens_a_megacycle"] for more in points], "o", markersize=5,
                      color=colour, markerfacecolor=face)
    widths = sorted({row.more["width"] for row in rows})
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.set_yticks([2**n for n in range(*power_range(rows))],
                    [str(2**n) for n in range(*power_range(rows))])
    axis.set_xlabel("bytes a cycle")
    axis.set_title(title, fontsize=10)
    axis.grid(linewidth=0.3)
    axis.legend(fontsize=7, frameon=False, loc="lower right")


def limit(points):
    """Widths and tokens of the curve of a batch, its knee among them if it lies between."""
    first, last = points[0], points[-1]
    by_memory = first["possible"] * max(1, first["batch"] / first["knee"])
    by_array = first["possible"] * max(1, first["knee"] / first["batch"])
    bend = first["width"] * by_array / by_memory
    widths = [first["width"], min(max(bend, first["width"]), last["width"]), last["width"]]
    return widths, [min(by_array, by_memory * width / first["width"]) for width in widths]


def power_range(rows):
    """Exponents of the powers of two around all points."""
    values = [row.more["tokens_a_megacycle"] for row in rows]
    return int(min(values)).bit_length() - 1, int(max(values)).bit_length() + 1
