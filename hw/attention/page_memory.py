"""Memory of the keys of pages."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.attention.page_keys import KEY_BITS, rows
from hw.memory.choose import choose


__all__ = ["page_key", "PageMemory"]


def page_key(config):
    """A page and its key; ``last`` marks the last one of a reading."""
    return data.StructLayout({"page": range(config.pages), "key": KEY_BITS, "last": 1})


class PageMemory(wiring.Component):
    """Keeps the keys of two selects, and reads those of consecutive pages in order.

    A reading follows the writing: it waits for rows that are not there yet.

    Latency
    -------
    Three cycles from ``start``, or from the write of a row, to the first of its pages.

    Throughput
    ----------
    A row written, and a page read, each cycle. Reading stalls with ``pages``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    begin, begin_bank : ``In(1)``
        All rows of a bank are forgotten.
    write, address, keys : ``In``
        As of :class:`hw.attention.page_keys.PageKeys`. Rows come in order.
    start : ``In(1)``
        Read pages ``low`` to ``high - 1``, at least one, of a bank. Not before all pages of the
        reading before have come.
    bank, low, high : ``In``
        Constant until then.
    pages : ``Out(stream.Signature(page_key(config)))``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "begin": In(1), "begin_bank": In(1),
            "write": In(1), "address": In(exact_log2(rows(config)) + 1),
            "keys": In(data.ArrayLayout(KEY_BITS, config.softmax_lanes)),
            "start": In(1), "bank": In(1),
            "low": In(range(config.pages)), "high": In(range(config.pages + 1)),
            "pages": Out(stream.Signature(page_key(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config, lane_bits = self.config, exact_log2(self.config.softmax_lanes)

        # Control: rows that were written, and the page that is read next.
        written = [Signal(range(rows(config) + 1), name=f"written_{n}") for n in range(2)]
        for n, count in enumerate(written):
            with m.If(self.write & (self.address[-1] == n)):
                m.d.sync += count.eq(self.address[:-1] + 1)
            with m.If(self.begin & (self.begin_bank == n)):
                m.d.sync += count.eq(0)
        page    = Signal(range(config.pages))
        active  = Signal()
        advance = Signal()
        do_read = Signal()
        last    = Signal()
        m.d.comb += [
            advance.eq(~self.pages.valid | self.pages.ready),
            do_read.eq(advance & active & (page[lane_bits:] < Mux(self.bank, *written[::-1]))),
            last.eq(page + 1 == self.high),
        ]
        with m.If(do_read):
            m.d.sync += [page.eq(page + 1), active.eq(~last)]
        with m.If(self.start):
            m.d.sync += [page.eq(self.low), active.eq(1)]

        # Stage 1: the row.
        m.submodules.memory = memory = Memory(shape=self.keys.shape().size, depth=2 * rows(config),
                                              init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write), write.addr.eq(self.address),
            write.data.eq(Value.cast(self.keys)),
            read.en.eq(advance), read.addr.eq(Cat(page[lane_bits:], self.bank)),
        ]
        s1_valid = Signal()
        s1_page  = Signal.like(page)
        s1_last  = Signal()
        with m.If(advance):
            m.d.sync += [s1_valid.eq(do_read), s1_page.eq(page), s1_last.eq(last)]

        # Stage 2: the page's key.
        s1_key = choose(m, read.data, s1_page[:lane_bits], KEY_BITS, "s1_key")
        with m.If(advance):
            m.d.sync += [
                self.pages.valid.eq(s1_valid), self.pages.p.page.eq(s1_page),
                self.pages.p.key.eq(s1_key), self.pages.p.last.eq(s1_last),
            ]
        return m
