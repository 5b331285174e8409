"""What tests of compiled programs share: programs with a fault, and texts of the reference."""

from dataclasses import replace

import numpy as np

from hw import isa
from sw.errors import UserError
from sw.runtime.emulator import Emulator
from sw.runtime.fault import Hazard
from verif.reference.forward import State, forward


__all__ = ["likeliest", "shows_a_race", "without_take"]


def without_take(compiled, name, occurrence, field):
    """A program in which one instruction does not wait for a counter."""
    words = list(compiled.words)
    found = [n for n, word in enumerate(words) if isa.decode(word)[0] == name]
    values = isa.decode(words[found[occurrence]])[1]
    assert values[field], f"{name} {occurrence} has no {field}"
    words[found[occurrence]] = isa.encode(name, **{**values, field: 0})
    return replace(compiled, words=words)


def shows_a_race(compiled, run, orders=20):
    """Whether some order of the emulator's steps gives ``run`` something to complain of."""
    for order in range(orders):
        device = Emulator(compiled.config, memory_bytes=compiled.memory.bytes, order=order)
        try:
            run(compiled, device)
        except (UserError, Hazard, ValueError):
            return True
    return False


def likeliest(model, prompt, positions):
    """Tokens that the reference generates behind a prompt in so many positions."""
    tokens, state = list(prompt), State.empty(model, 1, positions)
    for position in range(positions):
        logits = forward(model, tokens[position], position, state)[0]
        if position + 1 == len(tokens):
            tokens.append(int(np.argmax(logits)))
    return tokens[len(prompt):]
