"""AXI4 master for cocotb benches of slaves: reads and writes that several tasks may ask for."""

from collections import deque
from math import log2

import cocotb
import numpy as np
from cocotb.triggers import Event, RisingEdge

from verif.streams import never


__all__ = ["AxiMaster", "traffic"]


class AxiMaster:
    """Asks for bursts of whole words, with ID 0, and holds what comes back against the rules.

    Parameters
    ----------
    prefix : str
        Of the wires.
    size : int
        Bytes of a word.
    pause : callable or None
        Channel name such as ``"ar"`` -> iterator of bool: cycles in which it begins nothing (AR,
        AW, W), or is not ready (R, B).
    """

    def __init__(self, dut, prefix, size, *, pause=None):
        self.dut, self.prefix, self.size = dut, prefix, size
        pause = (lambda name: never()) if pause is None else pause
        self.queues = {kind: deque() for kind in ("ar", "aw", "w")}
        self.reads, self.writes = deque(), deque()
        for kind in self.queues:
            cocotb.start_soon(self._send(kind, pause(kind)))
        for kind, waiting, names in (("r", self.reads, ("data", "resp", "last")),
                                     ("b", self.writes, ("resp",))):
            cocotb.start_soon(self._receive(kind, waiting, names, pause(kind)))

    def wire(self, name):
        return getattr(self.dut, self.prefix + name)

    def _ask(self, kind, address, words):
        self.queues[kind].append({f"{kind}addr": address, f"{kind}len": words - 1,
                                  f"{kind}size": int(log2(self.size)), f"{kind}burst": 1,
                                  f"{kind}id": 0, f"{kind}cache": 3})

    async def read(self, address, words):
        """[(word, response)] of a burst."""
        self._ask("ar", address, words)
        result = [[], Event()]
        self.reads.append(result)
        await result[1].wait()
        assert len(result[0]) == words, f"{len(result[0])} words came, {words} were asked for"
        return [(one["data"], one["resp"]) for one in result[0]]

    async def write(self, address, words, strobes=None):
        """Response of a burst."""
        full = (1 << self.size) - 1
        self._ask("aw", address, len(words))
        for n, word in enumerate(words):
            self.queues["w"].append({"wdata": word, "wlast": n == len(words) - 1,
                                     "wstrb": full if strobes is None else strobes[n]})
        result = [[], Event()]
        self.writes.append(result)
        await result[1].wait()
        return result[0][0]["resp"]

    async def _send(self, kind, pause):
        valid, ready, queue = self.wire(f"{kind}valid"), self.wire(f"{kind}ready"), \
            self.queues[kind]
        valid.value = 0
        while True:
            if queue and not next(pause):
                for name, value in queue.popleft().items():
                    self.wire(name).value = int(value)
                valid.value = 1
                await RisingEdge(self.dut.clk)
                while not int(ready.value):
                    await RisingEdge(self.dut.clk)
                valid.value = 0
            else:
                await RisingEdge(self.dut.clk)

    async def _receive(self, kind, waiting, names, pause):
        stalled, ready = None, self.wire(f"{kind}ready")
        while True:
            takes = not next(pause)
            ready.value = takes
            await RisingEdge(self.dut.clk)
            if int(self.dut.rst.value):
                continue
            if not int(self.wire(f"{kind}valid").value):
                assert stalled is None, f"{kind}valid fell before the transfer"
                continue
            got = {name: int(self.wire(kind + name).value) for name in names}
            assert stalled in (None, got), f"{kind} changed while it was stalled"
            stalled = None if takes else got
            if takes:
                assert waiting, f"{kind}: nothing was asked for"
                waiting[0][0].append(got)
                if got.get("last", 1):
                    waiting.popleft()[1].set()


def merge(old, new, strobe, size):
    """A word of which some bytes were written."""
    mask = sum(255 << 8 * n for n in range(size) if strobe >> n & 1)
    return old & ~mask | new & mask


async def traffic(master, size, burst, first, words, *, seed, rounds=6, span=None):
    """Random bursts, several under way, in ``words`` words from word ``first`` on; what is read
    must be what was written.

    ``burst`` is the longest one, and they stay inside of aligned ones. If ``span`` is given, only
    so many bursts, drawn at random, are used.
    """
    rng = np.random.default_rng(seed)

    def values(count):
        return [int.from_bytes(rng.bytes(size), "little") for _ in range(count)]

    bases = [int(one) * burst for one in rng.permutation(words // burst)[:span]]
    known = {}
    for at in bases:
        known.update(enumerate(values(burst), at))
        assert await master.write((first + at) * size, [known[at + n] for n in range(burst)]) == 0
    for _ in range(rounds):
        tasks = []
        for at in map(int, rng.permutation(bases)[:5]):
            new, strobes = values(int(rng.integers(1, burst + 1))), []
            for n, word in enumerate(new):
                strobes.append(int(rng.integers(0, 1 << size)))
                known[at + n] = merge(known[at + n], word, strobes[-1], size)
            tasks.append(cocotb.start_soon(master.write((first + at) * size, new, strobes)))
        for task in tasks:
            assert await task == 0
        tasks = []
        for at in map(int, rng.choice(bases, 10)):
            begin = int(rng.integers(0, burst))
            count = int(rng.integers(1, burst - begin + 1))
            tasks.append((at + begin, count, cocotb.start_soon(
                master.read((first + at + begin) * size, count))))
        for at, count, task in tasks:
            assert await task == [(known[at + n], 0) for n in range(count)]
