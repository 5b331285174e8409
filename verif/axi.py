"""AXI4 memory for cocotb benches: channels of random latency that check what the master does."""

from collections import deque
from math import log2

import cocotb
from cocotb.triggers import RisingEdge

from verif.reference.memory import global_address
from verif.streams import never


__all__ = ["AxiMemory", "Channel"]

OKAY, SLVERR, INCR, PAGE = 0, 2, 1, 4096

#: Wires of a request that the master never changes: one ID, normal memory, nothing special.
CONSTANTS = {"burst": INCR, "id": 0, "lock": 0, "cache": 0b0011, "prot": 0, "qos": 0}

#: What must not change while ``valid`` waits for ``ready``.
HELD = {
    **{kind: tuple(f"{kind}{name}" for name in ("addr", "len", "size", *CONSTANTS))
       for kind in ("ar", "aw")},
    "w":  ("wdata", "wstrb", "wlast"),
}


class AxiMemory:
    """All channels of an interleaved memory whose contents are ``image``.

    Fails the test when the master breaks a rule, and begins with its name: those of
    docs/simulator.md, and ``x`` for a wire that is neither 0 nor 1.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    image : numpy.ndarray of uint8
        Contents, changed by writes.
    latency : callable
        Channel number -> iterator of the cycles from a request to its answer.
    pause : callable
        Name such as ``"ar0"`` -> iterator of bool: cycles without ready (AR, AW, W) or without a
        new answer (R, B).
    errors : container
        Global addresses (multiples of the word) at which accesses fail.

    Members
    -------
    bursts : list
        ``(channel, address, words)`` of every read, in order of acceptance.
    reading, writing : int
        Accesses in flight over all channels.
    """

    def __init__(self, dut, config, image, *, latency, pause=None, errors=(), prefix="axi__{}__"):
        self.config, self.image, self.errors = config, image, errors
        self.bursts  = []
        self.reading = self.writing = 0
        pause = (lambda name: never()) if pause is None else pause
        self.channels = [self.channel(dut, n, prefix.format(n), latency(n), pause)
                         for n in range(config.channels)]
        self.dut  = dut
        self.task = cocotb.start_soon(self._run())

    def channel(self, *arguments):
        return Channel(self, *arguments)

    async def _run(self):
        while True:
            await RisingEdge(self.dut.clk)
            for channel in self.channels:
                channel.cycle()


class Channel:
    """One AXI slave. It looks at a word when it gives it, and writes one as soon as it has it."""

    def __init__(self, memory, dut, number, prefix, latency, pause):
        self.memory, self.number, self.latency = memory, number, latency
        names = [*HELD["ar"], *HELD["aw"], *HELD["w"], "bid", "bresp", "rid", "rdata", "rresp",
                 "rlast", *(f"{c}{w}" for c in ("ar", "aw", "w", "r", "b")
                            for w in ("valid", "ready"))]
        self.wires = {name: getattr(dut, prefix + name) for name in names}
        self.pause = {c: pause(f"{c}{number}") for c in ("ar", "aw", "w", "r", "b")}
        self.ready = dict.fromkeys(("ar", "aw", "w"), False)
        self.stalled = dict.fromkeys(self.ready)
        self.reads, self.addresses, self.words, self.answers = deque(), deque(), deque(), deque()
        self.time, self.r_busy, self.b_busy = 0, False, False
        self.flight = {"ar": 0, "aw": 0}
        for name in ("arready", "awready", "wready", "rvalid", "bvalid", "rid", "bid"):
            self.wires[name].value = 0

    def value(self, name):
        try:
            return int(self.wires[name].value)
        except ValueError:
            raise AssertionError(f"x: {name} of channel {self.number} is "
                                 f"{self.wires[name].value}") from None

    def cycle(self):
        """What happened at this edge, and what is offered until the next."""
        self.time += 1
        requests = {c: self.handshake(c) for c in ("ar", "aw", "w")}
        if requests["ar"]:
            self.read(requests["ar"])
        if requests["aw"]:
            address, words = self.check("aw", requests["aw"])
            assert words == 1, "aw_len: writes are single words"
            self.addresses.append(address)
            self.memory.writing += 1
            self.count("aw", 1)
        if requests["w"]:
            assert requests["w"]["wlast"], "w_last: WLAST is low in a burst of one"
            assert requests["w"]["wstrb"], "w_empty: a word without a strobe"
            self.words.append(requests["w"])
            assert len(self.words) <= 2 + len(self.addresses), "w_lead: data far ahead of addresses"
        if self.addresses and self.words:
            self.write(self.addresses.popleft(), self.words.popleft())
        self.offer_read()
        self.offer_answer()
        for c in self.ready:
            ready = not next(self.pause[c])
            # Wires are written only when they change: every access costs more than the simulation.
            if ready != self.ready[c]:
                self.ready[c] = self.wires[f"{c}ready"].value = ready

    def count(self, c, change):
        """Bursts in flight."""
        self.flight[c] += change
        config = self.memory.config
        most = config.words_written if c == "aw" else config.outstanding
        assert self.flight[c] <= most, f"{c}_outstanding: too many bursts"

    def handshake(self, c):
        """The request transferred on channel ``c`` at this edge, if any."""
        if not self.value(f"{c}valid"):
            assert self.stalled[c] is None, f"{c}_valid: VALID fell before READY came"
            return None
        payload = {name: self.value(name) for name in HELD[c]}
        if self.stalled[c] is not None:
            assert payload == self.stalled[c], f"{c}_stable: a payload changed while it waited"
        self.stalled[c] = None if self.ready[c] else payload
        return payload if self.ready[c] else None

    def check(self, c, request):
        address, words = request[f"{c}addr"], request[f"{c}len"] + 1
        size = self.memory.config.data_bits // 8
        for name, wanted in CONSTANTS.items():
            value = request[f"{c}{name}"]
            assert value == wanted, f"{c}_{name}: {value}, not {wanted}"
        assert request[f"{c}size"] == log2(size), f"{c}_size: a transfer is not of full width"
        assert address % size == 0, f"{c}_aligned: {address:#x} is not a multiple of the data width"
        assert words <= self.memory.config.burst, f"{c}_len: a burst of {words} words"
        assert address // PAGE == (address + words * size - 1) // PAGE, \
            f"{c}_4k: the burst crosses 4 KiB"
        return address, words

    def span(self, address):
        """Slice of the image for the word at a channel address."""
        start = global_address(address, self.number, self.memory.config)
        return slice(start, start + self.memory.config.data_bits // 8)

    def response(self, address):
        width = self.memory.config.word_bytes
        return SLVERR if self.span(address).start // width * width in self.memory.errors else OKAY

    def read(self, request):
        address, words = self.check("ar", request)
        self.memory.bursts.append((self.number, address, words))
        self.memory.reading += 1
        self.count("ar", 1)
        size, due = self.memory.config.data_bits // 8, self.time + next(self.latency)
        for n in range(words):
            self.reads.append((due, address + n * size, n == words - 1))

    def offer_read(self):
        done = self.r_busy and self.value("rready")
        if done:
            self.r_busy = False
            self.memory.reading -= self.value("rlast")
            self.count("ar", -self.value("rlast"))
        if not self.r_busy and self.reads and self.reads[0][0] <= self.time \
                and not next(self.pause["r"]):
            _, address, last = self.reads.popleft()
            self.r_busy, done = True, False
            self.wires["rvalid"].value = 1
            self.wires["rdata"].value = int.from_bytes(self.fetch(address), "little")
            self.wires["rresp"].value = self.response(address)
            self.wires["rlast"].value = last
        if done:
            self.wires["rvalid"].value = 0

    def fetch(self, address):
        """Bytes of the word that is given now."""
        return self.memory.image[self.span(address)].tobytes()

    def store(self, address, request):
        """Take the word of a write that is no error."""
        span = self.span(address)
        data = request["wdata"].to_bytes(span.stop - span.start, "little")
        for n, byte in enumerate(data):
            if request["wstrb"] >> n & 1:
                self.memory.image[span.start + n] = byte

    def write(self, address, request):
        response = self.response(address)
        if response == OKAY:
            self.store(address, request)
        self.answers.append((self.time + next(self.latency), response))

    def offer_answer(self):
        if self.b_busy and self.value("bready"):
            self.b_busy = False
            self.memory.writing -= 1
            self.count("aw", -1)
            self.wires["bvalid"].value = 0
        if not self.b_busy and self.answers and self.answers[0][0] <= self.time \
                and not next(self.pause["b"]):
            self.b_busy = True
            self.wires["bvalid"].value = 1
            self.wires["bresp"].value = self.answers.popleft()[1]
