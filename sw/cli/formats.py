"""``tokamac formats``: the number formats of weights."""

import typer


def command():
    """List the formats of weights, their size and scales, and the presets that have them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from hw.config import load, presets
    from hw.formats import ACTIVATIONS, FORMATS, KV

    table = Table("format", "bits", "group", "scale", "", "presets", box=box.SIMPLE_HEAD)
    for format in FORMATS.values():
        having = [name for name in presets() if format.name in load(name).formats]
        table.add_row(format.name, f"{format.bits():.4g}", str(format.group or "row"),
                      format.scale.name, format.says, ", ".join(having))
    console = Console()
    console.print(table)
    typer.echo("Bits are those of a weight in memory, its share of a scale included, in rows of "
               "4096; a group of weights of a row shares a scale. The key `formats` of a "
               "configuration says which ones a machine has, the keys `activations` "
               f"({', '.join(ACTIVATIONS)}) and `kv` ({', '.join(KV)}) which elements of "
               "activations, and of keys and values.")
