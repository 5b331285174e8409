"""Compares a run with the reference: logits bit by bit, keys and values byte by byte."""

from itertools import product

import numpy as np

from hw.formats import KV
from sw.errors import UserError
from verif.reference.forward import State, forward
from verif.reference.kv import bounds_write, kv_write
from verif.reference.pattern import BLOCK, slot
from verif.reference.pick import noise, pick


__all__ = ["Verifier"]


class Verifier:
    """Holds what memory contained before a run, and checks what it contains afterwards.

    Parameters
    ----------
    device : :class:`sw.runtime.device.Device`
    compiled : :class:`sw.compile.compiler.Compiled`
        Compiled with ``check``.
    """

    def __init__(self, device, compiled):
        self.device, self.compiled = device, compiled
        region = compiled.memory.regions["kv"]
        self.start = region.line * compiled.config.line_bytes
        self.before = np.frombuffer(device.read(self.start, region.size), np.uint8).copy()

    def verify(self, outcome):
        """Check a run; gives a sentence that says what was compared, else raises
        :class:`UserError`.
        """
        model, sequences = self.compiled.model, self.compiled.sequences
        states = []
        for number, (sequence, text) in enumerate(zip(sequences, outcome.texts)):
            state = State.empty(model, 1, text.positions)
            if sequence.start:
                copy_beginning(states[0], state, sequence.start)
            self._verify_text(number, sequence, text, state)
            states.append(state)
        size = self._compare_kv(states, outcome.texts)
        logits = sum(text.positions - s.passed for text, s in zip(outcome.texts, sequences))
        return (f"{logits} x {model.vocabulary} logits and {size} bytes of keys and values equal "
                "the reference, bit for bit")

    def _verify_text(self, number, sequence, text, state):
        """Compute a sequence from its start on; ``state`` has what was computed before."""
        model, prompt = self.compiled.model, len(sequence.prompt)
        tokens = [*sequence.prompt, *text.tokens]
        for position in range(sequence.start, text.positions):
            logits = forward(model, tokens[position], position, state)[0]
            if position >= sequence.passed:
                self._compare_logits(number, position, logits)
            if position + 1 >= prompt:
                wanted = self._choose(logits, position)
                got = tokens[position + 1] if position + 1 < len(tokens) else None
                if got is None and wanted not in model.ends or got is not None and got != wanted:
                    raise UserError(f"the machine chose token {got} after position {position}, "
                                    f"the reference {wanted}")

    def _choose(self, logits, position):
        sampling = self.compiled.task.sampling
        if not sampling.temperature:
            return int(pick(logits, 1))
        drawn = noise(np.arange(len(logits)), position, sampling.seed)
        return int(pick(logits, np.float32(1 / sampling.temperature), drawn))

    def _compare_logits(self, number, position, logits):
        parts = [np.frombuffer(self.device.read(address, 4 * elements), "<u4")
                 for address, elements in self.compiled.logits_address(position, number)]
        got, wanted = np.concatenate(parts)[:len(logits)], logits.view(np.uint32)
        wrong = np.flatnonzero(got != wanted)
        if len(wrong):
            first = wrong[0]
            raise UserError(f"{len(wrong)} logits of position {position} differ from the "
                            f"reference, first that of token {first}: {got[first]:#010x} instead "
                            f"of {wanted[first]:#010x}")

    def _compare_kv(self, states, texts):
        compiled, config = self.compiled, self.compiled.config
        kv_name = compiled.model.kv
        region = compiled.memory.regions["kv"]
        wanted, filled = self.before.copy(), np.zeros_like(self.before)
        for number, (sequence, state, text) in enumerate(zip(compiled.sequences, states, texts)):
            # What fills the last chunk may be anything.
            size = state.k.shape[-1]
            anything = [np.full(count, 0xFF, np.uint8) for count in (size, size // BLOCK, size)]
            for layer, head, position in product(
                    range(len(compiled.kv)), range(compiled.model.n_kv_heads),
                    range(sequence.start, max(text.positions, sequence.filled))):
                place = self._place(number, layer, head, position), position % BLOCK
                if position >= text.positions:
                    kv_write(filled, config, *place, *anything, 0xFF, kv_name)
                    continue
                at, element = (layer, 0, head, position), KV[kv_name]
                kv_write(wanted, config, *place, element.encode(state.k[at]), state.k_codes[at],
                         element.encode(state.v[at]), state.v_codes[at], kv_name)
            for layer, kv in enumerate(compiled.kv):
                if kv.sees.sparse is not None:
                    self._write_bounds(wanted, state.bounds.of(layer), kv, text.positions)
        got = np.frombuffer(self.device.read(self.start, region.size), np.uint8)
        wrong = np.flatnonzero((got != wanted) & (filled == 0))
        if len(wrong):
            number, layer = max((pair for pair in enumerate(compiled.kv)
                                 if pair[1].line * config.line_bytes <= wrong[0]),
                                key=lambda pair: pair[1].line)
            head, offset = divmod(int(wrong[0]) - layer.line * config.line_bytes,
                                  layer.head_lines * config.line_bytes)
            where = f"head {head}, byte {offset}"
            if head >= layer.heads:
                first = (layer.line + layer.bounds) * config.line_bytes
                where = f"byte {wrong[0] - first} of the bounds"
            raise UserError(f"{len(wrong)} bytes of keys and values differ from the reference, "
                            f"first in layer {number}, {where}: "
                            f"{got[wrong[0]]:#04x} instead of {wanted[wrong[0]]:#04x}")
        return region.size

    def _write_bounds(self, image, bounds, layer, positions):
        """What memory has of the bounds of a layer's pages after some positions."""
        config, element = self.compiled.config, KV[self.compiled.model.kv]
        running, elements, codes = bounds
        for head in range(layer.heads):
            base = layer.line + layer.bounds + head * layer.bounds_lines
            for page in range(positions // layer.sees.sparse.page):
                at = 0, head, page
                bounds_write(image, config, base, page, element.encode(elements[at]), codes[at],
                             self.compiled.model.kv)
        start, raw = (layer.line + layer.running) * config.line_bytes, running[0].tobytes()
        image[start:start + len(raw)] = np.frombuffer(raw, np.uint8)

    def _place(self, number, layer, head, position):
        """Line of the KV block that holds a position of a sequence, in region ``kv``."""
        compiled = self.compiled
        kv, pool = compiled.kv[layer], compiled.task.pool
        place = slot(position // BLOCK, kv.ring, kv.sees.sinks)
        if pool is not None:
            place = pool.tables[number][place]
        return (kv.line + head * kv.head_lines
                + place * compiled.config.kv_lines(compiled.model.head_blocks,
                                                   KV[compiled.model.kv].packed))


def copy_beginning(source, target, positions):
    """Keys and values of the first positions, from one state to another."""
    for name in ("k", "k_codes", "v", "v_codes"):
        getattr(target, name)[:, :, :, :positions] = getattr(source, name)[:, :, :, :positions]
