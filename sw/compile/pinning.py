"""What a program holds in the on-die cache."""

from collections import namedtuple

from hw.config import load as load_config
from hw.config import presets
from sw.errors import UserError


__all__ = ["PINNED", "Pin", "find_pins", "parse_pins", "write_pins"]

#: What can be pinned: the regions of memory, and whether they are read at the beginning.
PINNED = {"weights": (("layers", "classifier"), True), "kv": (("kv",), False)}

#: A range of the cache: its first line, its lines, its place in bursts.
Pin = namedtuple("Pin", "comment line lines place preload")


def parse_pins(text):
    """The names in a list such as ``weights,kv``; ``none`` is an empty one."""
    names = () if text == "none" else tuple(text.split(","))
    for name in names:
        if name not in PINNED or names.count(name) > 1:
            raise UserError(f"what is pinned must be none, or some of {', '.join(PINNED)} with "
                            f"commas between, not {text!r}")
    return names


def find_pins(names, memory, config):
    """The :class:`Pin` of each range, packed into the cache in the order of ``names``; regions
    that follow each other are one range. :class:`UserError` if they do not fit."""
    if not names:
        return []
    if not config.cache:
        having = [name for name in presets() if load_config(name).cache]
        raise UserError(f"configuration {config} has no cache to pin {' and '.join(names)} "
                        f"(cache = 0); presets {', '.join(having)} have one")
    pins, place, wanted = [], 0, 0
    for name in names:
        regions, preload = PINNED[name]
        for line, lines in runs([memory.regions[region] for region in regions]):
            pins.append(Pin(name, line, lines, place, preload))
            bursts = (line + lines - 1) // config.burst_lines - line // config.burst_lines + 1
            place += bursts
            wanted += bursts * config.burst_bytes
    if place > config.cache_bursts:
        raise UserError(f"{' and '.join(names)} take {wanted} bytes of the cache, configuration "
                        f"{config} has {config.cache}")
    if len(pins) > config.ranges:
        raise UserError(f"{' and '.join(names)} are {len(pins)} ranges of memory, the cache of "
                        f"configuration {config} holds {config.ranges}")
    return pins


def runs(regions):
    """``[first line, lines]`` of regions, joined where one begins at the end of another."""
    found = []
    for region in sorted(regions, key=lambda region: region.line):
        if found and sum(found[-1]) == region.line:
            found[-1][1] += region.lines
        else:
            found.append([region.line, region.lines])
    return found


def write_pins(w):
    """Pins what the task asks for."""
    for slot, pin in enumerate(find_pins(w.task.pin, w.memory, w.config)):
        w.out.emit("pin", pin.comment, slot=slot, base=pin.line, lines=pin.lines, place=pin.place,
                   preload=int(pin.preload))
