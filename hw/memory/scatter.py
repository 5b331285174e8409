"""Moves FP32 blocks from the workspace to memory."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from ..signatures import row_read, write_data
from .choose import choose


__all__ = ["Scatter"]


class Scatter(wiring.Component):
    """Collects workspace rows into an item (a word or a row, whichever is larger) and writes it.

    Throughput
    ----------
    Two cycles a row and one a word: results are few.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    go : ``In(1)``
        High, with the operands constant, until ``done``.
    address, a, blocks : ``In``
        Byte address, first workspace block, number of blocks.
    done : ``Out(1)``
        The last word was handed over, and the mark after it.
    marks : ``Out(stream.Signature(0))``
    read : ``Out(row_read(config))``
    writes : ``Out(stream.Signature(write_data(config)))``
    ok, take : ``In(1)``, ``Out(1)``
        Permission for the next block.
    released : ``Out(1)``
        A block was read.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "go": In(1), "done": Out(1),
            "address": In(config.address_bits), "a": In(16), "blocks": In(12),
            "read": Out(row_read(config)),
            "writes": Out(stream.Signature(write_data(config))),
            "marks": Out(stream.Signature(0)),
            "ok": In(1), "take": Out(1), "released": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        rows = exact_log2(config.block_rows)
        row_bits, word_bits = config.row_bits, config.word_bits
        item_rows, item_words = max(1, word_bits // row_bits), max(1, row_bits // word_bits)

        # Control.
        row, word = Signal(12 + rows), Signal(ceil_log2(item_words))
        offset = Signal(config.address_bits)
        position = row[:ceil_log2(item_rows)]
        last_row, last_of_block = Signal(), Signal()
        m.d.comb += [
            last_of_block.eq(row[:rows].all()),
            last_row.eq(last_of_block & (row[rows:] + 1 == self.blocks)),
            self.read.request.payload.eq((self.a << rows) + row),
        ]
        capture, finished = Signal(), Signal()
        with m.FSM():
            with m.State("REQUEST"):
                with m.If(self.go & (self.blocks == 0)):
                    m.next = "MARK"
                with m.Elif(self.go & (self.ok | row[:rows].any())):
                    m.d.comb += self.read.request.valid.eq(1)
                    with m.If(self.read.request.ready):
                        m.d.comb += self.take.eq(~row[:rows].any())
                        m.next = "CAPTURE"
            with m.State("CAPTURE"):
                m.d.comb += [capture.eq(1), self.released.eq(last_of_block)]
                m.d.sync += [row.eq(row + 1), finished.eq(last_row)]
                m.next = "REQUEST"
                with m.If(position.all() | last_row):
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += self.writes.valid.eq(1)
                with m.If(self.writes.ready):
                    m.d.sync += [word.eq(word + 1), offset.eq(offset + config.word_bytes)]
                    with m.If(word.all()):
                        m.next = "REQUEST"
                        with m.If(finished):
                            m.next = "MARK"
            with m.State("MARK"):
                m.d.comb += self.marks.valid.eq(1)
                with m.If(self.marks.ready):
                    m.d.comb += self.done.eq(1)
                    m.d.sync += [row.eq(0), offset.eq(0)]
                    m.next = "REQUEST"

        # Data: rows of the item, and which of them hold something.
        held = [Signal(row_bits, name=f"row_{n}") for n in range(item_rows)]
        filled = Signal(item_rows)
        with m.If(capture):
            for n in range(item_rows):
                with m.If(position == n):
                    m.d.sync += [held[n].eq(self.read.data), filled[n].eq(1)]
        with m.If(self.writes.valid & self.writes.ready & word.all()):
            m.d.sync += filled.eq(0)
        strobe = Cat(bit.replicate(row_bits // 8) for bit in filled)
        m.d.comb += [
            self.writes.p.address.eq(self.address + offset),
            self.writes.p.data.eq(choose(m, Cat(held), word, word_bits, "word_data")),
            self.writes.p.strobe.eq(choose(m, strobe, word, config.word_bytes, "word_strobe")),
        ]
        return m
