"""Finds the memory of a KV block: ring, block table, and the lines before it."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..geometry import BLOCK
from .modulo import Modulo


__all__ = ["block_query", "Finder"]


def block_query(config):
    """A block of a head, and what says where it lies."""
    most = config.max_head_blocks
    lines = max(config.kv_lines(most), config.bounds_lines(most) if config.pages else 0)
    return data.StructLayout({
        "address": 32,                  # line of the head
        "number":  27,                  # of the block
        "ring":    16,                  # blocks used in turn, 0: no ring
        "sinks":   12,                  # tokens that lie before the ring
        "lines":   bits_for(lines),     # from one block to the next
        "direct":  1,                   # neither ring nor table
    })


class Finder(wiring.Component):
    """The first line of a block: its number, by way of the ring and the block table, times lines.

    The reference is :func:`verif.reference.kv.block_place`.

    Latency
    -------
    4 cycles and one for each bit of ``lines``, 29 more if the block lies in a ring, and those of a
    lookup if there is a table.

    Throughput
    ----------
    One block at a time.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(stream.Signature(block_query(config)))``
    o : ``Out(stream.Signature(32))``
        Line, modulo 2^32.
    entries : ``In(20)``
        Entries of the block table, 0: there is none.
    lookup : ``Out(1)``
        Entry ``index`` is wanted, until it comes as ``found``.
    index : ``Out(20)``
    found : ``In(stream.Signature(32))``
    fault : ``Out(1)``
        The block is beyond the table. It stays so until a reset, and nothing comes out.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(block_query(config))),
            "o": Out(stream.Signature(32)),
            "entries": In(20),
            "lookup": Out(1), "index": Out(20), "found": In(stream.Signature(32)),
            "fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        query = Signal(block_query(self.config))
        kept = Signal(range(2**12 // BLOCK + 1))    # blocks that hold sinks
        place = Signal(32)

        m.submodules.modulo = modulo = Modulo(len(query.number), len(query.ring))
        m.d.comb += [modulo.dividend.eq(query.number - kept), modulo.divisor.eq(query.ring)]

        line, factor = Signal(32), Signal.like(query.lines)
        m.d.comb += [self.o.payload.eq(line), self.index.eq(place)]
        with m.FSM():
            with m.State("REST"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [query.eq(self.i.payload),
                             kept.eq((self.i.p.sinks + (BLOCK - 1)) // BLOCK)]
                with m.If(self.i.valid):
                    m.next = "SPLIT"
            with m.State("SPLIT"):
                m.d.sync += [place.eq(query.number), line.eq(query.address),
                             factor.eq(query.lines)]
                m.next = "TABLE"
                with m.If(~query.direct & (query.ring != 0) & (query.number >= kept)):
                    m.d.comb += modulo.start.eq(1)
                    m.next = "DIVIDE"
            with m.State("DIVIDE"):
                m.d.sync += place.eq(kept + modulo.remainder)
                with m.If(modulo.done):
                    m.next = "TABLE"
            with m.State("TABLE"):
                with m.If(query.direct | (self.entries == 0)):
                    m.next = "SCALE"
                with m.Elif(place < self.entries):
                    m.next = "LOOKUP"
                with m.Else():
                    m.next = "FAULT"
            with m.State("LOOKUP"):
                m.d.comb += [self.lookup.eq(1), self.found.ready.eq(1)]
                with m.If(self.found.valid):
                    m.d.sync += place.eq(self.found.payload)
                    m.next = "SCALE"
            with m.State("SCALE"):
                # Shift and add.
                m.d.sync += [factor.eq(factor >> 1), place.eq(place << 1)]
                with m.If(factor[0]):
                    m.d.sync += line.eq(line + place)
                with m.If(factor == 0):
                    m.next = "DELIVER"
            with m.State("DELIVER"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "REST"
            with m.State("FAULT"):
                m.d.comb += self.fault.eq(1)
        return m
