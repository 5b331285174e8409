"""cocotb drivers and monitors of ready/valid streams, and the scoreboard that compares them.

A port named ``i`` with ``stream.Signature(shape)`` is driven by ``StreamDriver(dut, "i", shape)``.
Without a shape, payloads are bits. Streams that are always ready or always valid have no such
wire in the emitted Verilog; drivers and monitors see that by themselves.
"""

import random
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge

from verif.packing import packer, plain, unpacker


__all__ = ["never", "always", "sometimes", "bursts", "bits_of",
           "StreamDriver", "StreamMonitor", "Scoreboard"]


def never():
    """Pause in no cycle."""
    while True:
        yield False


def always():
    """Pause in every cycle."""
    while True:
        yield True


def sometimes(seed, rate=0.5):
    """Pause in each cycle with probability ``rate``."""
    rng = random.Random(seed)
    while True:
        yield rng.random() < rate


def bursts(seed, longest=20):
    """Alternate runs of pauses and of transfers, each of random length up to ``longest``."""
    rng = random.Random(seed)
    while True:
        for pause in (False, True):
            for _ in range(rng.randint(1, longest)):
                yield pause


class Wires:
    """The wires of the stream ``name``; those that the Verilog does not have are ``None``."""

    def __init__(self, dut, name):
        self.payload = getattr(dut, f"{name}__payload", None)
        self.valid   = getattr(dut, f"{name}__valid", None)
        self.ready   = getattr(dut, f"{name}__ready", None)
        if self.payload is None and self.valid is None and self.ready is None:
            raise AttributeError(f"the device has no stream {name!r}")

    def width(self):
        return 0 if self.payload is None else len(self.payload)


def bits_of(wire, name):
    """Bits of a wire as an integer; unknown bits fail."""
    # By way of the text: the simulator interface's own conversions build an object for each bit.
    text = str(wire.value)
    try:
        return int(text, 2)
    except ValueError:
        raise AssertionError(f"{name} is {text}") from None


def level(wire, name):
    """Value of a one-bit wire; 1 where there is none."""
    return wire is None or bits_of(wire, name) == 1


class StreamDriver:
    """Sends payloads into the stream ``name`` of ``dut``.

    Between transfers the payload carries garbage, so that a device that looks at it fails.

    Parameters
    ----------
    shape : shape-like or None
        How :meth:`send` packs payloads; ``None`` means that they are bits already.
    pause : iterator of bool or None
        One item is taken for each cycle; payloads start only in cycles without a pause.
    """

    def __init__(self, dut, name, shape=None, *, pause=None):
        self.clk     = dut.clk
        self.name    = name
        self.pack    = int if shape is None else packer(shape)
        self.wires   = Wires(dut, name)
        self.pause   = never() if pause is None else pause
        self.sent    = 0
        self.garbage = random.Random(name)
        self._idle()

    def _idle(self):
        if self.wires.valid is not None:
            self.wires.valid.value = 0
        if self.wires.payload is not None:
            self.wires.payload.value = self.garbage.getrandbits(self.wires.width())

    async def send(self, payload):
        """Hold ``payload`` on the stream until it is transferred."""
        bits = self.pack(payload)
        while next(self.pause):
            await RisingEdge(self.clk)
        if self.wires.payload is not None:
            self.wires.payload.value = bits
        if self.wires.valid is not None:
            self.wires.valid.value = 1
        await RisingEdge(self.clk)
        while not level(self.wires.ready, f"{self.name}.ready"):
            await RisingEdge(self.clk)
        self.sent += 1
        self._idle()

    async def send_all(self, payloads):
        """Send each of ``payloads``, in order."""
        for payload in payloads:
            await self.send(payload)

    def start(self, payloads):
        """Send ``payloads`` in the background; returns the task, which may be awaited."""
        return cocotb.start_soon(self.send_all(payloads))


class StreamMonitor:
    """Takes what leaves the stream ``name`` of ``dut``, and checks the rules of streams.

    Drives ``ready``: low in the cycles in which ``pause`` yields true. Fails when a stalled
    payload is changed or withdrawn, and when anything is unknown while it counts.

    Parameters
    ----------
    on_transfer : callable or None
        Called with each payload. ``None`` collects them in :attr:`received`.
    shape : shape-like or None
        How payloads are unpacked; ``None`` means that they are given as unsigned integers.
    """

    def __init__(self, dut, name, on_transfer=None, shape=None, *, pause=None):
        self.clk         = dut.clk
        self.rst         = dut.rst
        self.name        = name
        self.unpack      = int if shape is None else unpacker(shape)
        self.wires       = Wires(dut, name)
        self.received    = []
        self.on_transfer = self.received.append if on_transfer is None else on_transfer
        self.pause       = never() if pause is None else pause
        if pause is not None and self.wires.ready is None:
            raise ValueError(f"{name} is always ready: it cannot be paused")
        self.task = cocotb.start_soon(self._run())

    async def _run(self):
        stalled = None
        payload = self.wires.payload
        while True:
            ready = not next(self.pause)
            if self.wires.ready is not None:
                self.wires.ready.value = ready
            await RisingEdge(self.clk)
            if level(self.rst, "rst"):
                stalled = None
                continue
            valid = level(self.wires.valid, f"{self.name}.valid")
            if stalled is not None:
                assert valid, f"{self.name}.valid fell before the transfer"
            if not valid:
                continue
            bits = 0 if payload is None else bits_of(payload, f"{self.name}.payload")
            if stalled is not None and self.wires.valid is not None:
                assert bits == stalled, f"{self.name}.payload changed while it was stalled"
            if ready:
                stalled = None
                self.on_transfer(self.unpack(bits))
            elif self.wires.valid is not None:
                stalled = bits


class Scoreboard:
    """Compares transfers with expectations, in order."""

    def __init__(self, name="o"):
        self.name     = name
        self.expected = deque()
        self.matched  = 0

    def expect(self, value):
        """Expect one transfer of ``value`` after all that is expected already."""
        self.expected.append(plain(value))

    def expect_all(self, values):
        """Expect one transfer of each of ``values``, in order."""
        for value in values:
            self.expect(value)

    def check(self, value):
        """Compare one transfer with the next expectation."""
        value = plain(value)
        assert self.expected, f"{self.name}: unexpected transfer {self.matched}: {value!r}"
        expected = self.expected.popleft()
        assert value == expected, (f"{self.name}: transfer {self.matched} is {value!r}, "
                                   f"expected {expected!r}")
        self.matched += 1

    async def finish(self, clk, *, patience=2000, quiet=20):
        """Wait until everything expected has come, and a while longer for what should not come.

        Fails when nothing comes for ``patience`` cycles.
        """
        waited = before = 0
        while self.expected:
            await RisingEdge(clk)
            waited = 0 if self.matched != before else waited + 1
            before = self.matched
            assert waited < patience, (f"{self.name}: nothing came for {patience} cycles; "
                                       f"{self.matched} transfers came, "
                                       f"{len(self.expected)} are missing")
        for _ in range(quiet):
            await RisingEdge(clk)
