"""Reads a list of page numbers from memory."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from ..signatures import choice
from .choose import choose
from .reader import descriptor


__all__ = ["Pages"]


class Pages(wiring.Component):
    """Asks a reader for the list, and sends its pages one by one, then the end.

    The list must be strictly ascending. Pages from ``count`` on are left out, and so are those
    whose number a choice cannot hold.

    The reference is :func:`verif.reference.memory.choose`.

    Throughput
    ----------
    Three cycles a page, two if it is left out: each stands for blocks that take many more.
    ``items.ready`` does not depend on ``choices.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    item_words : int
        Words of an item of the reader.

    Members
    -------
    go : ``In(1)``
        High, with the operands constant, until ``done``.
    address, entries, count : ``In``
        Byte address of the list, its 32-bit numbers, and the first page that is left out.
    done : ``Out(1)``
    descriptors : ``Out(stream.Signature(descriptor(config)))``
    items : ``In(stream.Signature(8 * item_bytes))``
    choices : ``Out(stream.Signature(choice))``
    fault : ``Out(1)``
        A number is not above the one before it. It stays so until a reset, and nothing comes out.
    """

    def __init__(self, config, item_words):
        self.config = config
        self.item_bytes = item_words * config.word_bytes
        super().__init__({
            "go": In(1), "done": Out(1),
            "address": In(config.address_bits), "entries": In(16), "count": In(32),
            "descriptors": Out(stream.Signature(descriptor(config))),
            "items": In(stream.Signature(8 * self.item_bytes)),
            "choices": Out(stream.Signature(choice)),
            "fault": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        parts = self.item_bytes // 4
        asked, index, part = Signal(), Signal(16), Signal(ceil_log2(parts))
        last, first = Signal(), Signal(init=1)
        number, before = Signal(32), Signal(32)
        m.d.comb += [
            self.descriptors.valid.eq(self.go & ~asked & (self.entries != 0)),
            self.descriptors.p.address.eq(self.address),
            self.descriptors.p.beats.eq(
                (self.entries + (parts - 1)) >> exact_log2(parts)),
            last.eq(index + 1 == self.entries),
        ]
        with m.If(self.descriptors.valid & self.descriptors.ready):
            m.d.sync += asked.eq(1)

        take = Signal()
        m.d.comb += self.items.ready.eq(take & (part.all() | last))
        with m.If(take):
            m.d.sync += [index.eq(index + 1), part.eq(part + 1), before.eq(number),
                         number.eq(choose(m, self.items.payload, part, 32, "number_read"))]
        with m.FSM():
            with m.State("TAKE"):
                with m.If(self.go & (index == self.entries)):
                    m.next = "END"
                with m.Elif(asked & self.items.valid):
                    m.d.comb += take.eq(1)
                    m.next = "TEST"
            with m.State("TEST"):
                m.d.sync += first.eq(0)
                m.next = "TAKE"
                with m.If(~first & (number <= before)):
                    m.next = "FAULT"
                with m.Elif((number < self.count) & ~number[len(self.choices.p.page):].any()):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [self.choices.valid.eq(1), self.choices.p.page.eq(number)]
                with m.If(self.choices.ready):
                    m.next = "TAKE"
            with m.State("END"):
                m.d.comb += [self.choices.valid.eq(1), self.choices.p.end.eq(1)]
                with m.If(self.choices.ready):
                    m.d.comb += self.done.eq(1)
                    m.d.sync += [asked.eq(0), index.eq(0), part.eq(0), first.eq(1)]
                    m.next = "TAKE"
            with m.State("FAULT"):
                m.d.comb += self.fault.eq(1)
        return m
