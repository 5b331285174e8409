"""Runs a compiled model on a device and hands out its tokens as they come."""

from dataclasses import dataclass

from hw import isa
from hw import register_map as rm
from sw.errors import UserError


__all__ = ["Outcome", "Session", "Text"]

#: Cycles between two looks at what was emitted.
SLICE = 1 << 14
#: Cycles without progress after which the machine ends a run.
WATCHDOG = 1 << 20
#: What the program emits at the end of each of several sequences.
END = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Text:
    """What one sequence gave.

    Parameters
    ----------
    tokens : list of int
        Generated tokens.
    positions : int
        Tokens that have passed through the model at its end, those of a shared beginning among
        them.
    """

    tokens: list
    positions: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run gave.

    Parameters
    ----------
    texts : tuple of :class:`Text`
        Of each sequence.
    positions : int
        Tokens that passed through the model.
    counters : dict
        Event counters of the machine.
    """

    texts: tuple
    positions: int
    counters: dict

    @property
    def tokens(self):
        """Generated tokens of all sequences."""
        return [token for text in self.texts for token in text.tokens]


class Session:
    """A compiled model on a device.

    Parameters
    ----------
    device : :class:`sw.runtime.device.Device`
    compiled : :class:`sw.compile.compiler.Compiled`
    """

    def __init__(self, device, compiled):
        self.device, self.compiled = device, compiled
        self.outcome = None
        found = device.read_register("hash")
        if found != compiled.config.hash:
            raise UserError(f"the machine has configuration hash {found:#010x}, but the program "
                            f"was compiled for {compiled.config} with {compiled.config.hash:#010x}")
        memory = compiled.memory
        device.load(0, memory.image())
        pages = memory.bytes // rm.PAGE
        first_written = memory.read_only_bytes // rm.PAGE
        seed = compiled.task.sampling.seed
        for name, value in (
                ("read_base", 0), ("read_limit", pages), ("write_base", first_written),
                ("write_limit", pages), ("seed_low", seed & 0xFFFFFFFF),
                ("seed_high", seed >> 32), ("watchdog", WATCHDOG)):
            device.write_register(name, value)
        device.program(compiled.words)

    def tokens(self):
        """Run the program; yields tokens as they are generated, then sets ``outcome``.

        If there are several sequences, None follows the tokens of each.
        """
        device, several = self.device, len(self.compiled.sequences) > 1
        tokens = [[]]
        device.start()
        status = rm.RUNNING
        while status & rm.RUNNING:
            status = device.run(SLICE)
            for token in device.emitted():
                if several and token == END:
                    tokens.append([])
                    yield None
                else:
                    tokens[-1].append(token)
                    yield token
        if status & rm.FAULT:
            raise UserError(self.fault(status))
        sequences = self.compiled.sequences
        texts = tuple(map(text_of, sequences, tokens))
        self.outcome = Outcome(
            texts=texts, counters=device.counters(),
            positions=sum(text.positions - s.start for text, s in zip(texts, sequences)))

    def fault(self, status):
        """Sentence that says why the run ended."""
        device = self.device
        pc = device.read_register("pc")
        address = device.read_register("fault_low") | device.read_register("fault_high") << 32
        words = self.compiled.words
        try:
            name = isa.decode(words[pc])[0] if pc < len(words) else "beyond the program"
        except ValueError:
            name = "an illegal word"
        text = f"the machine stopped with {device.cause().name} at instruction {pc} ({name})"
        if device.cause() in (rm.Cause.READ_WINDOW, rm.Cause.WRITE_WINDOW, rm.Cause.READ_BUS,
                              rm.Cause.WRITE_BUS):
            text += f", address {address:#x}"
        if device.cause() == rm.Cause.ECC:
            where = rm.Place(address >> rm.PLACE_BITS)
            text += f": wrong bits in {where.name} {address & (1 << rm.PLACE_BITS) - 1:#x}"
        if status & rm.HUNG:
            text += "; its bus does not come to rest: memory leaves requests unanswered"
        return text


def text_of(sequence, tokens):
    """The :class:`Text` of a sequence that generated ``tokens``."""
    prompt = len(sequence.prompt)
    # A text that ended by itself needed one position more, to choose its end.
    ended = len(tokens) < sequence.positions - prompt + 1
    return Text(tokens=tokens, positions=prompt + len(tokens) - 1 + ended)
