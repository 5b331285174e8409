"""Moves FP32 blocks from memory to the workspace."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from ..geometry import BLOCK
from ..signatures import row_write
from .choose import choose
from .reader import descriptor


__all__ = ["Gather"]


class Gather(wiring.Component):
    """Asks a reader for the blocks, and writes what comes to the workspace, row by row.

    An item of the reader is a word or a row, whichever is larger.

    Latency
    -------
    A row is written in the cycle in which its item comes, if the block is allowed.

    Throughput
    ----------
    One row each cycle. ``items.ready`` depends on ``write.ready`` and on ``ok``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    go : ``In(1)``
        High, with the operands constant, until ``done``.
    address, dst, blocks : ``In``
        Byte address, first workspace block, number of blocks.
    done : ``Out(1)``
    descriptors : ``Out(stream.Signature(descriptor(config)))``
    items : ``In(stream.Signature(8 * item_bytes))``
    write : ``Out(stream.Signature(row_write(config)))``
    ok, take : ``In(1)``, ``Out(1)``
        Permission for the next block.
    produced : ``Out(1)``
        A block was written.
    """

    @staticmethod
    def item_words(config):
        """Words of an item."""
        return max(1, config.row_bits // config.word_bits)

    def __init__(self, config):
        self.config = config
        self.item_bytes = max(config.word_bytes, config.row_bits // 8)
        super().__init__({
            "go": In(1), "done": Out(1),
            "address": In(config.address_bits), "dst": In(16), "blocks": In(12),
            "descriptors": Out(stream.Signature(descriptor(config))),
            "items": In(stream.Signature(8 * self.item_bytes)),
            "write": Out(stream.Signature(row_write(config))),
            "ok": In(1), "take": Out(1), "produced": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        rows = exact_log2(config.block_rows)
        parts = self.item_bytes * 8 // config.row_bits

        asked, row = Signal(), Signal(12 + rows)
        part = Signal(ceil_log2(parts))
        first, last_of_block, last, moved = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.descriptors.valid.eq(self.go & ~asked & (self.blocks != 0)),
            self.descriptors.p.address.eq(self.address),
            self.descriptors.p.beats.eq(
                (self.blocks * (4 * BLOCK) + self.item_bytes - 1) >> exact_log2(self.item_bytes)),
            first.eq(~row[:rows].any()),
            last_of_block.eq(row[:rows].all()),
            last.eq(last_of_block & (row[rows:] + 1 == self.blocks)),
            self.write.valid.eq(asked & self.items.valid & (self.ok | ~first)),
            self.write.p.address.eq((self.dst << rows) + row),
            self.write.p.data.eq(choose(m, self.items.payload, part, config.row_bits, "row_data")),
            moved.eq(self.write.valid & self.write.ready),
            self.items.ready.eq(moved & (part.all() | last)),
            self.take.eq(moved & first),
            self.produced.eq(moved & last_of_block),
            self.done.eq((moved & last) | (self.go & (self.blocks == 0))),
        ]
        with m.If(self.descriptors.valid & self.descriptors.ready):
            m.d.sync += asked.eq(1)
        with m.If(moved):
            m.d.sync += [row.eq(row + 1), part.eq(part + 1)]
        with m.If(self.done):
            m.d.sync += [asked.eq(0), row.eq(0), part.eq(0)]
        return m
