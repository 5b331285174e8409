"""Which values of fields a machine accepts: one definition for the decoder and the emulator.

:mod:`hw.isa` says what a word is; this says which words a configuration executes.
"""

from . import isa


__all__ = ["WINDOWED", "absent", "ranges", "legal"]

#: Instructions in which the sinks must lie inside the window.
WINDOWED = ("walk", "attend")


def absent(config):
    """Names of the instructions that the machine lacks."""
    return ((() if config.pages else ("select", "maximum", "minimum"))
            + (() if config.cache else ("pin", "drop")))


def ranges(config):
    """``{(instruction, field): (least, most)}``; of all other fields every value is legal.

    The value of a field with choices is the number of the choice.
    """
    geometry = {"head_blocks": (1, config.max_head_blocks), "columns": (1, config.columns),
                "groups": (1, config.kv_groups)}
    result = {
        (name, field): geometry[field]
        for name in ("walk", "attend", "select", "append")
        if name not in absent(config) for field in isa.BY_NAME[name].offsets if field in geometry
    }
    result["branch", "target"] = 0, config.program - 1
    result["walk", "span"] = 1, 2**7 - 1
    result["append", "heads"] = 1, 2**5 - 1
    if config.cache:
        result["pin", "slot"] = result["drop", "slot"] = 0, config.ranges - 1
        result["pin", "lines"] = 1, 2**32 - 1
        result["pin", "place"] = 0, config.cache_bursts - 1
    if not config.forward:
        for name, field in (("walk", "forward"), ("attend", "heads"), ("attend", "head")):
            result[name, field] = 0, 0
    if not config.pages:
        result["walk", "pattern"] = 0, isa.PATTERNS.index("bounds") - 1
        result["append", "bounds"] = 0, 0
    return result


def legal(name, fields, config):
    """Whether the machine executes the instruction; ``fields`` are as :func:`.isa.decode` gives
    them."""
    if name in absent(config):
        return False
    if any(fields[field] not in names for field, names in config.names.items() if field in fields):
        return False
    if name == "matmul" and (fields["format"], fields["activation"]) in config.refused:
        return False
    if name in WINDOWED and 0 < fields["window"] < fields["sinks"]:
        return False
    for (instruction, field), (least, most) in ranges(config).items():
        if instruction == name:
            value = fields[field]
            if isinstance(value, str):
                value = isa.PATTERNS.index(value)
            if not least <= value <= most:
                return False
    return True
