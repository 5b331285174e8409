"""AXI4 bursts as accesses of words, in the order in which an SDRAM shall do them."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.memory.queue import Queue


__all__ = ["SdramFront", "access_layout", "place_layout"]


def place_layout(chip):
    """A row of a bank."""
    return data.StructLayout({"bank": chip.bank_bits, "row": chip.row_bits})


def access_layout(config, chip):
    """One word: where, and what becomes of it. ``bad``: beyond the end."""
    return data.StructLayout({
        "place": place_layout(chip), "column": chip.column_bits,
        "write": 1, "data": config.data_bits, "strobe": config.data_bits // 8,
        "id": 1, "last": 1, "bad": 1,
    })


class SdramFront(wiring.Component):
    """Takes bursts in turn of reads and of writes whose data are there.

    Byte addresses are, from the top: row, bank, column. So a long read goes through all banks,
    and the next bank is opened while the last one is read.

    Latency
    -------
    Two cycles from an address to its first word.

    Throughput
    ----------
    A word a cycle, without a pause between bursts. ``ready`` wires do not depend on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    chip : :class:`.sdram_chip.SdramChip`

    Members
    -------
    reads, writes : ``In(stream)``
        Addresses of bursts: ``id``, ``address``, ``length``.
    words : ``In(stream)``
        Written data: ``data``, ``strobe``, ``last``.
    o : ``Out(stream.Signature(access_layout(config, chip)))``
    ahead : ``Out(stream.Signature(place_layout(chip), always_ready=True))``
        Where the next read burst begins, when one waits.
    """

    def __init__(self, config, chip):
        self.config, self.chip = config, chip
        self.burst = data.StructLayout({"id": 1, "address": config.address_bits, "length": 8})
        self.word = data.StructLayout({"data": config.data_bits, "strobe": config.data_bits // 8,
                                       "last": 1})
        super().__init__({
            "reads": In(stream.Signature(self.burst)), "writes": In(stream.Signature(self.burst)),
            "words": In(stream.Signature(self.word)),
            "o": Out(stream.Signature(access_layout(config, chip))),
            "ahead": Out(stream.Signature(place_layout(chip), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        for name, depth in (("reads", 4), ("writes", 2), ("words", 4)):
            port = getattr(self, name)
            m.submodules[name] = queue = Queue(port.payload.shape(), depth)
            wiring.connect(m, wiring.flipped(port), queue.i)
        reads, writes, words = m.submodules.reads.o, m.submodules.writes.o, m.submodules.words.o
        step = self.config.data_bits // 8

        # The burst under way, and which is next: a write, unless the last one was a write too.
        busy, write = Signal(), Signal()
        address, left, number = Signal(self.config.address_bits), Signal(8), Signal()
        sent, ends, free, begins, chosen = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.o.valid.eq(busy & (~write | words.valid)), sent.eq(self.o.valid & self.o.ready),
            self.o.p.last.eq(Mux(write, words.p.last, left == 0)), ends.eq(sent & self.o.p.last),
            free.eq(~busy | ends),
            chosen.eq(writes.valid & words.valid & ~(reads.valid & write)),
            begins.eq(free & (reads.valid | chosen)),
            reads.ready.eq(free & ~chosen), writes.ready.eq(free & chosen),
            words.ready.eq(sent & write),
        ]
        with m.If(sent):
            m.d.sync += [address.eq(address + step), left.eq(left - 1)]
        with m.If(ends):
            m.d.sync += busy.eq(0)
        with m.If(begins):
            burst = Mux(chosen, writes.payload.as_value(), reads.payload.as_value())
            burst = data.View(self.burst, burst)
            m.d.sync += [busy.eq(1), write.eq(chosen), address.eq(burst.address),
                         left.eq(burst.length), number.eq(burst.id)]

        # Data.
        place, column, bad = self._place(address)
        m.d.comb += [
            self.o.p.place.eq(place), self.o.p.column.eq(column), self.o.p.write.eq(write),
            self.o.p.data.eq(words.p.data), self.o.p.strobe.eq(Mux(bad, 0, words.p.strobe)),
            self.o.p.id.eq(number), self.o.p.bad.eq(bad),
        ]
        # A cycle late: what has just begun is then told once more, which does no harm.
        m.d.sync += [self.ahead.payload.eq(self._place(reads.p.address)[0]),
                     self.ahead.valid.eq(reads.valid)]
        return m

    def _place(self, address):
        chip = self.chip
        cells = address[exact_log2(chip.pins // 8):]
        column, rest = cells[:chip.column_bits], cells[chip.column_bits:]
        bank, row = rest[:chip.bank_bits], rest[chip.bank_bits:][:chip.row_bits]
        return Cat(bank, row), column, rest[chip.bank_bits + chip.row_bits:].any()
