"""Writes ``sizes.toml``, the cells of presets that FPGAs of boards may hold: minutes a preset.

    python -m sw.sizes
"""

import os

from hw.config import load
from sw.files import write_whole
from sw.fit import KEPT, MEASURED, key, measure


def table(config, cells):
    """One entry of the file."""
    lines = [f"[{config}]", f'key = "{key(config)}"']
    return "\n".join(lines + [f"{kind} = {count}" for kind, count in cells.items()]) + "\n"


def main():
    parts = ["# Cells of presets and of what stands around them on a ULX3S, by blocks of an ECP5.\n"
             "# python -m sw.sizes writes this file.\n"]
    for name in MEASURED:
        config = load(name)
        parts.append(table(config, measure(config, jobs=os.cpu_count() or 1)))
        print(parts[-1], flush=True)
    write_whole(KEPT, "\n".join(parts))


if __name__ == "__main__":
    main()
