"""Turns named instructions with labels into words, and words into a listing that people read."""

from bisect import bisect_right

from hw import isa


__all__ = ["Assembler", "listing"]


class Assembler:
    """Collects instructions; branch targets are labels that may be defined later.

    Parameters
    ----------
    counters : dict
        Name to number of each counter; instructions may use the names.
    registers : dict
        Name to number of each register; instructions may use the names.
    """

    def __init__(self, counters=None, registers=None):
        self.counters = dict(counters or {})
        self.registers = {"zero": 0, **(registers or {})}
        self.lines = []
        self.labels = {}

    def label(self, name):
        """Name the next instruction."""
        if name in self.labels:
            raise ValueError(f"the label {name!r} is defined twice")
        self.labels[name] = len(self.lines)

    def emit(self, name, comment="", **values):
        """Append an instruction. Fields take numbers, or names where names are known."""
        if name not in isa.BY_NAME:
            raise ValueError(f"there is no instruction {name!r}")
        for field in isa.BY_NAME[name].fields:
            value = values.get(field.name)
            if isinstance(value, str) and not field.choices and field.name != "target":
                values[field.name] = self._number(name, field, value)
        self.lines.append((name, values, comment))

    def mark(self, comment, blocks, take=0, tell=0):
        """Only take or raise a counter, between what the vector unit does before and after.

        ``pick`` writes nothing: what it reads does not matter, and what the array writes never
        waits for it.
        """
        self.emit("pick", comment, a=0, blocks=blocks, imm=0, index=0, first=1, last=0, take0=take,
                  raise1=tell)

    def _number(self, name, field, value):
        known = self.registers if is_register(field) else self.counters
        if value not in known:
            raise ValueError(f"{name} {field.name}: {value!r} is not one of {', '.join(known)}")
        return known[value]

    def words(self):
        """The program as 128-bit words."""
        words = []
        for name, values, _ in self.lines:
            if name == "branch" and isinstance(values["target"], str):
                if values["target"] not in self.labels:
                    raise ValueError(f"the label {values['target']!r} is not defined")
                values = {**values, "target": self.labels[values["target"]]}
            words.append(isa.encode(name, **values))
        return words

    def comments(self):
        """Comment of each instruction."""
        return [comment for _, _, comment in self.lines]


def is_register(field):
    """Whether a field names a register."""
    return field.name in ("rd", "ra", "rb", "offset", "count") and field.bits == 4


def listing(words, *, labels=None, comments=None, counters=None, registers=None, symbols=()):
    """A program as text, one instruction a line.

    Parameters
    ----------
    words : list of int
    labels, counters, registers : dict
        Name to instruction number, counter and register.
    comments : list of str
    symbols : iterable of (name, line, lines)
        Regions of memory, by which addresses are shown.
    """
    at = {}
    for name, number in (labels or {}).items():
        at.setdefault(number, []).append(name)
    counter_names = {number: name for name, number in (counters or {}).items()}
    register_names = {number: name for name, number in (registers or {}).items()}
    symbols = sorted(symbols, key=lambda symbol: symbol[1])
    lines = []
    for number, word in enumerate(words):
        lines += [f"{name}:" for name in at.get(number, ())]
        name, values = isa.decode(word)
        parts = []
        for field in isa.BY_NAME[name].fields:
            value = values[field.name]
            if field.name == "base":
                shown = show_address(value, symbols)
            elif field.name == "target" and name == "branch":
                shown = at.get(value, [value])[0]
            elif is_register(field):
                shown = register_names.get(value, f"r{value}")
            elif field.name in ("take0", "take1", "raise0", "raise1", "counter"):
                shown = counter_names.get(value, value)
            else:
                shown = value
            if shown_at_all(field, value):
                parts.append(f"{field.name}={shown}")
        text = f"  {number:4d}  {name:9s} {' '.join(parts)}"
        comment = comments[number] if comments else ""
        lines.append(f"{text:78s} ; {comment}".rstrip() if comment else text.rstrip())
    return "\n".join(lines) + "\n"


def shown_at_all(field, value):
    """Counters 0 (none) and register 0 as an offset say nothing."""
    silent = ("take0", "take1", "raise0", "raise1", "offset", "rb")
    return value != 0 or field.name not in silent


def show_address(line, symbols):
    """A line address as a region's name and a distance."""
    found = bisect_right([start for _, start, _ in symbols], line) - 1
    if found < 0 or line >= symbols[found][1] + max(1, symbols[found][2]):
        return f"line {line}"
    name, start, _ = symbols[found]
    return name if line == start else f"{name}+{line - start}"
