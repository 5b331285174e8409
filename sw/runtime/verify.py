"""Compares a run with the reference: logits bit by bit, keys and values byte by byte."""

import numpy as np

from hw.formats import KV
from sw.errors import UserError
from verif.reference.forward import State, forward
from verif.reference.kv import kv_write
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
        model, task = self.compiled.model, self.compiled.task
        tokens = [*self.compiled.prompt, *outcome.tokens]
        state = State.empty(model, 1, outcome.positions)
        for position in range(outcome.positions):
            logits = forward(model, tokens[position], position, state)[0]
            if position >= task.passed:
                self._compare_logits(position, logits)
            if position + 1 >= task.prompt:
                wanted = self._choose(logits, position)
                got = tokens[position + 1] if position + 1 < len(tokens) else None
                if got is None and wanted not in model.ends or got is not None and got != wanted:
                    raise UserError(f"the machine chose token {got} after position {position}, "
                                    f"the reference {wanted}")
        size = self._compare_kv(state, outcome.positions)
        return (f"{outcome.positions - task.passed} x {model.vocabulary} logits and {size} bytes "
                "of keys and values equal the reference, bit for bit")

    def _choose(self, logits, position):
        sampling = self.compiled.task.sampling
        if not sampling.temperature:
            return int(pick(logits, 1))
        drawn = noise(np.arange(len(logits)), position, sampling.seed)
        return int(pick(logits, np.float32(1 / sampling.temperature), drawn))

    def _compare_logits(self, position, logits):
        parts = [np.frombuffer(self.device.read(address, 4 * elements), "<u4")
                 for address, elements in self.compiled.logits_address(position)]
        got, wanted = np.concatenate(parts)[:len(logits)], logits.view(np.uint32)
        wrong = np.flatnonzero(got != wanted)
        if len(wrong):
            first = wrong[0]
            raise UserError(f"{len(wrong)} logits of position {position} differ from the "
                            f"reference, first that of token {first}: {got[first]:#010x} instead "
                            f"of {wanted[first]:#010x}")

    def _compare_kv(self, state, positions):
        compiled, config = self.compiled, self.compiled.config
        kv = compiled.model.kv
        element = KV[kv]
        region = compiled.memory.regions["kv"]
        wanted, filled = self.before.copy(), np.zeros_like(self.before)
        lines = config.kv_lines(compiled.model.head_blocks, element.packed)
        size = state.k.shape[-1]
        # What fills the last chunk may be anything.
        anything = [np.full(count, 0xFF, np.uint8) for count in (size, size // BLOCK, size)]
        for number, layer in enumerate(compiled.kv):
            for head in range(layer.heads):
                for position in range(max(positions, compiled.task.filled)):
                    at = number, 0, head, position
                    block, token = divmod(position, BLOCK)
                    place = slot(block, layer.ring, layer.sees.sinks)
                    line = layer.line + head * layer.head_lines + place * lines
                    if position >= positions:
                        kv_write(filled, config, line, token, *anything, 0xFF, kv)
                        continue
                    kv_write(wanted, config, line, token, element.encode(state.k[at]),
                             state.k_codes[at], element.encode(state.v[at]), state.v_codes[at],
                             kv)
        got = np.frombuffer(self.device.read(self.start, region.size), np.uint8)
        wrong = np.flatnonzero((got != wanted) & (filled == 0))
        if len(wrong):
            number, layer = max((pair for pair in enumerate(compiled.kv)
                                 if pair[1].line * config.line_bytes <= wrong[0]),
                                key=lambda pair: pair[1].line)
            head, offset = divmod(int(wrong[0]) - layer.line * config.line_bytes,
                                  layer.head_lines * config.line_bytes)
            raise UserError(f"{len(wrong)} bytes of keys and values differ from the reference, "
                            f"first in layer {number}, head {head}, byte {offset}: "
                            f"{got[wrong[0]]:#04x} instead of {wanted[wrong[0]]:#04x}")
        return region.size
