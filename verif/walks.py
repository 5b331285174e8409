"""Random commands for the D stream, and what must be read for them, in which order."""

from collections import deque

from hw import isa
from hw.signatures import Part
from verif.reference import memory as reference
from verif.reference.pattern import BLOCK, blocks_read, chosen_blocks, parts, slot


__all__ = ["walk", "stream", "numbers", "choices_of", "in_order", "Follower"]


def walk(rng, config, address=None, *, count=None, table=None, pattern=None, take0=0, chain=None,
         forward=None, pages=None, longest=400, **fields):
    """A ``walk`` command with random fields where none are given, and what it is to read.

    A dict with ``command``, ``blocks`` (as of :func:`verif.reference.memory.walk`), ``pages`` (the
    list that it takes, or None), ``chain`` and ``late``: index of the block that waits for take0.
    """
    def pick(name, values):
        return int(rng.choice(values)) if fields.get(name) is None else fields[name]

    count = int(rng.integers(0, longest)) if count is None else count
    if pattern is None:
        pattern = str(rng.choice(["window", "window", "chosen", "bounds"]))
    chain = int(rng.integers(2)) if chain is None else chain
    forward = int(rng.integers(2)) if forward is None else forward
    bounds = pattern == "bounds"
    head_blocks = pick("head_blocks", range(1, config.max_head_blocks + 1))
    span = pick("span", [min(count, n) or 1 for n in (1, 1, 2, 7, 8, 64)])
    window = pick("window", [0, 1, 31, 32, 33, 40, 64, 100, 128, 200, 1000])
    sinks = pick("sinks", [0, 0, 1, 4, 32, 33, 70, 4095])
    # A ring holds at least what is read of it at once.
    ring = pick("ring", [0, 0, (window + span) // BLOCK + 2 + int(rng.integers(4))])
    page = int(rng.integers(0, 4))
    kv = str(rng.choice(config.kv))
    address = int(rng.integers(0, 1 << 20)) if address is None else address
    if pattern == "chosen" and pages is None:
        pages = sorted({int(n) for n in rng.integers(0, (longest // BLOCK >> page) + 2, 6)})
    lists = chosen_blocks(pages or (), page)
    if table is not None and not bounds:
        # The table holds no fewer blocks than are read.
        most = max((slot(n, ring, sinks) for n in blocks_read(count, span, window, sinks, lists)),
                   default=0)
        assert most < len(table), "the bench's table is too small"
    blocks = reference.walk(address, count, head_blocks, config, span=span, window=window,
                            sinks=sinks, ring=ring, chosen=lists, bounds=bounds, table=table, kv=kv,
                            forward=forward)
    word = isa.encode("walk", take0=take0, head_blocks=head_blocks, span=span, window=window,
                      sinks=sinks, ring=ring, pattern=pattern, page=page, chain=chain, kv=kv,
                      forward=forward)
    chunk = 0 if forward else max(0, count - span) // BLOCK
    late = [n for n, block in enumerate(blocks) if block[0][0]["number"] >= chunk]
    return {"command": {"word": word, "address": address, "count": count}, "blocks": blocks,
            "pages": pages, "chain": chain, "late": late[0] if late else None}


def stream(rng, config, beats, address=None):
    """A ``stream`` command of D, in the same form: its beats are not announced."""
    address = int(rng.integers(0, 1 << 20)) if address is None else address
    word = isa.encode("stream", stream="d", beats=beats)
    return {"command": {"word": word, "address": address, "count": int(rng.integers(1 << 32))},
            "blocks": [((None, address * config.line_bytes, beats),)], "pages": None, "chain": 0,
            "late": None}


def numbers(part):
    """An announcement as the reference has it."""
    return part | {"kind": part["kind"].value}


def choices_of(command):
    """The list that a walk takes, as payloads of the stream ``choices``."""
    if command["pages"] is None:
        return []
    return [*({"page": page, "end": 0} for page in command["pages"]), {"page": 77, "end": 1}]


def in_order(commands, ahead):
    """Parts in the order of reading, if every command is there in time."""
    result, chain = [], []

    def flush():
        numbers = [range(len(command["blocks"])) for command in chain]
        for kind, walk, n in parts(numbers, ahead):
            result.append(chain[walk]["blocks"][n][kind == "values"])
        chain.clear()

    for command in commands:
        alone = any(len(block) == 1 for block in command["blocks"])
        if alone or not command["chain"]:
            flush()
        if alone:
            result.extend(block[0] for block in command["blocks"])
        else:
            chain.append(command)
    flush()
    return result


class Follower:
    """Checks that parts come in a legal order, whatever came in time and what did not.

    Parameters
    ----------
    commands : list
        As of :func:`walk` and :func:`stream`.
    ahead : int
        Blocks between keys and values.
    """

    def __init__(self, commands, ahead):
        self.ahead = ahead
        self.commands = commands
        self.blocks = deque((n, block) for n, command in enumerate(commands)
                            for block in command["blocks"])
        self.values = deque()

    def follow(self, part):
        """The part, with address and beats, that the announcement ``part`` stands for."""
        if part["kind"] == Part.VALUES:
            assert self.values, "values without keys"
            found = self.values.popleft()[1][1]
        else:
            assert self.blocks, "more blocks than were asked for"
            number, block = self.blocks.popleft()
            found = block[0]
            if len(block) == 1 or (part["first"] and not self.commands[number]["chain"]):
                assert not self.values, "read before the values of what it is not chained to"
            if self.values:
                assert number - self.values[0][0] < 2, "a walk overtook two"
            if len(block) == 2:
                self.values.append((number, block))
                assert len(self.values) <= self.ahead + 1, "too many keys without their values"
        assert numbers(part) == found[0], f"announced {part}, expected {found[0]}"
        return found

    def streams(self):
        """Parts that come now and are not announced."""
        while self.blocks and not self.values and self.blocks[0][1][0][0] is None:
            yield self.blocks.popleft()[1][0]

    def all(self, announced):
        """All parts, in the order in which the announcements came."""
        found = [*self.streams()]
        for part in announced:
            found += [self.follow(part), *self.streams()]
        assert not self.blocks and not self.values, "something was not announced"
        return found
