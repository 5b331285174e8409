"""``tokamac isa``: the instruction set."""

import typer


def command():
    """Print every instruction with its fields and their bits."""
    from hw import isa

    typer.echo(f"Instructions have {isa.WORD_BITS} bits; bits 0..{isa.OPCODE_BITS - 1} are the "
               "opcode, and bits that no field uses are zero.")
    for unit in isa.UNITS:
        typer.echo(f"\n# {unit}")
        for instruction in isa.INSTRUCTIONS:
            if instruction.unit != unit:
                continue
            typer.echo(f"\n{instruction.name} ({instruction.opcode}): {instruction.doc}")
            for field in instruction.fields:
                first = instruction.offsets[field.name]
                last = first + field.bits - 1
                bits = f"{first}" if first == last else f"{first}..{last}"
                choices = "; " + ", ".join(f"{n} = {name}" for n, name in enumerate(
                    field.choices)) if field.choices else ""
                typer.echo(f"  {bits:>9s}  {field.name:12s} {field.doc}{choices}")
