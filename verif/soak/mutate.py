"""Makes programs and their surroundings wrong: words, counters, windows, the bus, the host."""

from dataclasses import dataclass, field

from hw import isa
from hw import register_map as rm
from sim.timing import Timing

from .image import MEMORY, OUTPUT, WRITABLE


__all__ = ["Trouble", "mutate", "random_timing", "trouble"]

HANDSHAKES = ("ar", "aw", "w", "r", "b")


def random_timing(rng, cruel=0.7):
    """Memory that is kind in some ways, and in others not."""
    def perhaps(value):
        return int(value) if rng.random() < cruel / 2 else 0

    return Timing(
        latency=int(rng.choice([1, 5, 20, 60, 150])), latency_spread=perhaps(rng.integers(1, 60)),
        latency_tail=perhaps(rng.integers(1, 30)), banks=perhaps(2 ** rng.integers(0, 4)),
        row_bytes=int(2 ** rng.integers(5, 12)), row_miss=perhaps(rng.integers(1, 40)),
        refresh_every=perhaps(rng.integers(100, 900)), refresh_for=int(rng.integers(0, 30)),
        rate_num=1, rate_den=1 + perhaps(rng.integers(1, 4)),
        stall_per_256=perhaps(rng.integers(1, 128)), ar_per_256=perhaps(rng.integers(1, 230)),
        aw_per_256=perhaps(rng.integers(1, 230)), w_per_256=perhaps(rng.integers(1, 230)),
        r_per_256=perhaps(rng.integers(1, 200)), b_per_256=perhaps(rng.integers(1, 230)),
        data_first=perhaps(1), host_per_256=perhaps(rng.integers(1, 200)))


@dataclass
class Trouble:
    """What goes wrong beside the program.

    ``abort``, ``reset`` and ``hang`` are cycles of the run; ``handshakes`` are those that hang.
    A host that meddles reads and writes registers meanwhile.
    """

    notes: list = field(default_factory=list)
    abort: int | None = None
    reset: int | None = None
    meddles: bool = False
    hang: int | None = None
    handshakes: tuple = ()
    errors: list = field(default_factory=list)      # arguments of fail_at
    timing: dict = field(default_factory=dict)
    windows: dict = field(default_factory=dict)
    flips: list = field(default_factory=list)       # (cycle, address, bit)

    @property
    def bus_errors(self):
        """Whether memory may answer with an error."""
        return bool(self.errors or self.timing)


def mutate(rng, words, trouble):
    """Words of which some are wrong."""
    words = list(words)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(words)))
        kind = KINDS[rng.integers(len(KINDS))]
        kind(rng, words, at)
        trouble.notes.append(f"{kind.__name__} at {at}")
    return words[:2048]


def flip_bits(rng, words, at):
    for _ in range(rng.integers(1, 4)):
        words[at] ^= 1 << int(rng.integers(isa.WORD_BITS))


def random_word(rng, words, at):
    words[at] = int.from_bytes(rng.bytes(16), "little")


def random_fields(rng, words, at):
    """An instruction with any fields, small ones more often."""
    instruction = isa.INSTRUCTIONS[rng.integers(len(isa.INSTRUCTIONS))]
    words[at] = encode(instruction.name, {
        one.name: int(rng.integers(2**int(rng.integers(0, one.bits + 1)))) for one in
        instruction.fields})


def change_field(rng, words, at):
    """One field has any value."""
    def change(values, instruction):
        one = instruction.fields[rng.integers(len(instruction.fields))]
        values[one.name] = int(rng.integers(2**one.bits))
    change_instruction(words, at, change)


def change_counters(rng, words, at):
    """Counters that are left out, or others."""
    def change(values, instruction):
        for name in ("take0", "take1", "raise0", "raise1"):
            if name in values and rng.random() < 0.5:
                values[name] = int(rng.integers(16)) if rng.random() < 0.5 else 0
    for n in range(at, min(at + int(rng.integers(1, 4)), len(words))):
        change_instruction(words, n, change)


def change_address(rng, words, at):
    """The next address is another one."""
    for n in range(at, len(words)):
        if change_instruction(words, n, lambda values, _: values.update(
                base=int(rng.choice([rng.integers(2**32), rng.integers(2 * MEMORY // 64), 2**32 - 1,
                                     *(border // 64 + rng.integers(-4, 4) for border in
                                       (WRITABLE.start, WRITABLE.stop, MEMORY))]))), "base"):
            return


def leave_out(rng, words, at):
    if len(words) > 1:
        del words[at]


def repeat(rng, words, at):
    words.insert(at, words[at])


def swap(rng, words, at):
    other = int(rng.integers(len(words)))
    words[at], words[other] = words[other], words[at]


def too_many(rng, words, at):
    """A counter that runs over."""
    words[at:at] = [isa.encode("raise", counter=int(rng.integers(1, 16)), count=1023)
                    ] * int(rng.integers(1, 20))


def flush(rng, words, at):
    words.insert(at, isa.encode("flush", w=int(rng.integers(2)), d=int(rng.integers(2))))


def bad_list(rng, words, at):
    """Pages out of numbers: not ascending, and a walk that takes them."""
    words[at:at] = [isa.encode("set", rd=7, imm=int(rng.integers(200))),
                    isa.encode("choose", base=int(rng.integers(1000)), count=7,
                               entries=int(rng.integers(50))),
                    isa.encode("walk", base=0x1000, count=7, head_blocks=1, span=1, window=1,
                               pattern="chosen")]


def short_table(rng, words, at):
    words.insert(at, isa.encode("paging", base=0x400, entries=int(rng.integers(1, 4))))


KINDS = [flip_bits, random_word, random_fields, random_fields, change_field, change_field,
         change_counters, change_counters, change_address, leave_out, repeat, swap, too_many, flush,
         bad_list, short_table]


def encode(name, values):
    """A word with these numbers in its fields, legal or not."""
    instruction, word = isa.BY_NAME[name], isa.BY_NAME[name].opcode
    for one in instruction.fields:
        value = values.get(one.name, 0)
        if isinstance(value, str):
            value = one.choices.index(value)
        word |= (value & 2**one.bits - 1) << instruction.offsets[one.name]
    return word


def change_instruction(words, at, change, having=None):
    """Apply ``change(values, instruction)``; whether the word is one that has the field."""
    try:
        name, values = isa.decode(words[at])
    except ValueError:
        return False
    instruction = isa.BY_NAME[name]
    if not instruction.fields or (having and having not in values):
        return False
    change(values, instruction)
    words[at] = encode(name, values)
    return True


def trouble(rng, cycles, wanted):
    """What goes wrong beside a program that should give what is wanted, in a run of about so many
    cycles."""
    found = Trouble()
    kind = rng.choice(["abort", "hang", "words", "words", "chance", "flips", "reset", "", "", ""])
    if rng.random() < 0.4:
        name = str(rng.choice(["read_base", "read_limit", "write_base", "write_limit"]))
        # By one page, or by some; matrices are read, and results written, across borders of pages.
        start, size = (OUTPUT.start, 4) if name[0] == "w" else (0, WRITABLE.start // rm.PAGE)
        found.windows = wanted.windows | {name: start // rm.PAGE + int(rng.integers(size))}
        if rng.random() < 0.7:
            found.windows[name] = max(0, wanted.windows[name] + (1 if "base" in name else -1))
        found.notes.append(f"{found.windows}")
    moment = int(rng.integers(cycles))
    found.meddles = rng.random() < 0.2
    if found.meddles:
        found.notes.append("meddling host")
    if kind == "reset":
        found.reset = moment
        found.notes.append(f"reset in cycle {moment}")
    elif kind == "abort":
        found.abort = moment
        found.notes.append(f"abort in cycle {moment}")
    elif kind == "hang":
        found.hang = moment
        found.handshakes = tuple(str(one) for one in rng.choice(
            HANDSHAKES, int(rng.integers(1, 4)), replace=False))
        found.notes.append(f"{' '.join(found.handshakes)} hang from cycle {moment}")
    elif kind == "words":
        # Most of them in what the program needs; that a write failed is seen if no read does.
        reads, writes = ((True, True), (True, False), (False, True))[rng.integers(3)]
        places = [(0, MEMORY), *(wanted.reads * reads), *(wanted.writes * writes)]
        for _ in range(int(2 ** (8 * rng.random()))):
            start, size = places[rng.integers(len(places))]
            found.errors.append((start + int(rng.integers(size)),
                                 str(rng.choice(["slverr", "decerr"])), reads, writes))
        found.notes.append(f"{len(found.errors)} words with errors")
    elif kind == "chance":
        found.timing = {str(rng.choice(["read_errors", "write_errors"])):
                        int(2 ** rng.integers(2, 12))}
        found.notes.append(f"{found.timing}")
    elif kind == "flips":
        found.flips = [(int(rng.integers(cycles)), int(rng.integers(0x40000)),
                        int(rng.integers(8))) for _ in range(rng.integers(1, 500))]
        found.notes.append(f"{len(found.flips)} bits flip")
    return found
