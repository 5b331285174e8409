"""The control instructions."""

from hw import isa
from hw.legality import legal


__all__ = ["sequencer"]


def sequencer(words, results, config, limit=10_000):
    """What a program sends: a list of ``("emit", value)``, ``("raise", counter, count)``,
    ``("flush", w, d)``, ``("paging", table, entries)``, ``("pin", slot, preload, line, lines,
    place)``, ``("drop", slot)`` and ``(unit, word, address, count)``, ending with ``("stop",)`` or
    ``("illegal", pc)``.

    Reference for :class:`hw.sequencer.Sequencer`.

    Parameters
    ----------
    words : list of int
        The program; behind it lie zeros.
    results : dict
        Source name -> list of values that ``wait`` finds, in order.
    config : :class:`hw.config.Config`
    limit : int
        Instructions after which the program is taken to be endless.
    """
    mask = 2**32 - 1
    registers, pc, sent = [0] * isa.REGISTERS, 0, []
    results = {name: iter(values) for name, values in results.items()}
    for _ in range(limit):
        word = words[pc] if pc < len(words) else 0
        try:
            name, f = isa.decode(word)
        except ValueError:
            return [*sent, ("illegal", pc)]
        if not legal(name, f, config):
            return [*sent, ("illegal", pc)]
        a = registers[f.get("ra", f.get("offset", 0))]
        b = registers[f.get("rb", f.get("count", 0)) if name != "raise" else 0]
        value, target = None, pc + 1
        if name == "stop":
            return [*sent, ("stop",)]
        elif name == "set":
            value = f["imm"]
        elif name == "add":
            value = a + b + f["imm"]
        elif name == "mul":
            value = a * f["imm"]
        elif name == "branch":
            taken = {"eq": a == b, "ne": a != b, "lt": a < b, "ge": a >= b}[f["condition"]]
            target = f["target"] if taken else target
        elif name == "wait":
            value = next(results[f["source"]])
        elif name == "emit":
            sent.append(("emit", a))
        elif name == "raise":
            sent.append(("raise", f["counter"], f["count"]))
        elif name == "flush":
            sent.append(("flush", f["w"], f["d"]))
        elif name == "paging":
            sent.append(("paging", (a + f["base"]) & mask, f["entries"]))
        elif name == "pin":
            sent.append(("pin", f["slot"], f["preload"], (a + f["base"]) & mask, f["lines"],
                         f["place"]))
        elif name == "drop":
            sent.append(("drop", f["slot"]))
        elif name != "sync":
            address = (a + f.get("base", 0)) & mask if "base" in f else None
            count = b if "count" in f else None
            sent.append((isa.BY_NAME[name].unit, word, address, count))
        if value is not None and f["rd"]:
            registers[f["rd"]] = value & mask
        pc = target
    raise ValueError(f"the program did not end within {limit} instructions")
