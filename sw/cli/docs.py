"""``tokamac docs``: the pages that follow from definitions."""

from pathlib import Path
from typing import Annotated

import typer


__all__ = ["PAGES", "command", "instructions_page", "registers_page"]


NOTE = "<!-- Written by `tokamac docs` from {source}; do not edit. -->\n"


def command(
    out: Annotated[Path | None, typer.Option(
        help="Directory to write to; by default docs.")] = None,
):
    """Write the pages of the instruction set and of the register map."""
    from sw.files import write_whole

    folder = out or Path(__file__).parents[2] / "docs"
    for name, page in PAGES.items():
        write_whole(folder / name, page())
        typer.echo(folder / name)


def table(head, rows):
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def bit_range(first, bits):
    """``first..last``, or one number."""
    return str(first) if bits == 1 else f"{first}..{first + bits - 1}"


def instructions_page():
    """Every instruction with its fields, as Markdown."""
    from hw import isa

    parts = [
        NOTE.format(source="hw/isa.py"), "# Instructions\n\n",
        f"A word has {isa.WORD_BITS} bits. Bits 0..{isa.OPCODE_BITS - 1} are the opcode. A bit "
        "that no field uses must be zero,\nand a field of names must hold one of them; else the "
        "instruction is illegal. There are\n"
        f"{isa.REGISTERS} registers and {isa.COUNTERS - 1} counters; register 0 is zero, and "
        "counter 0 is none.\nWhen each command takes and raises is in "
        "[interfaces.md](interfaces.md), section 7.\n",
    ]
    for unit in isa.UNITS:
        own = [instruction for instruction in isa.INSTRUCTIONS if instruction.unit == unit]
        parts += [f"\n## {unit}\n\n", table(("instruction", "opcode", "what it does"), [
            (f"[`{i.name}`](#{i.name}-{i.opcode})", i.opcode, i.doc) for i in own])]
        for instruction in own:
            parts.append(f"\n### {instruction.name} ({instruction.opcode})\n\n{instruction.doc}\n")
            rows = [(bit_range(instruction.offsets[field.name], field.bits), f"`{field.name}`",
                     field.doc + "".join(f"{', ' if n else ': '}{n} = `{choice}`"
                                         for n, choice in enumerate(field.choices)))
                    for field in instruction.fields]
            if rows:
                parts += ["\n", table(("bits", "field", "meaning"), rows)]
    return "".join(parts)


def registers_page():
    """The register map and the causes of a fault, as Markdown."""
    from hw import register_map as rm

    return "".join([
        NOTE.format(source="hw/register_map.py"), "# Registers\n\n",
        "All registers have 32 bits and are on the AXI4-Lite bus `s_axil`. "
        "[sequencer.md](sequencer.md) says how a run\nis started, watched and ended.\n\n",
        table(("offset", "register", "access", "meaning"), [
            (f"`{register.offset:#04x}`", f"`{register.name}`", register.access, register.doc)
            for register in rm.REGISTERS]),
        f"\nPages have {rm.PAGE} bytes. The value of `version` is {rm.VERSION}.\n",
        "\n## Causes\n\n",
        table(("value", "cause"), [(cause.value, f"`{cause.name}`") for cause in rm.Cause]),
        f"\n## Places\n\nWhere bits were wrong ([memory.md](memory.md#wrong-bits)): bits "
        f"{rm.PLACE_BITS}..31 of `corrected_place`, and of\n`fault_low` after `ECC`, say what "
        f"lies at the address in bits 0..{rm.PLACE_BITS - 1}.\n\n",
        table(("value", "place", "address"),
              [(place.value, f"`{place.name}`", doc) for place, doc in rm.PLACES.items()]),
    ])


#: File name -> function that gives its text.
PAGES = {"instructions.md": instructions_page, "registers.md": registers_page}
