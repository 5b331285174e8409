"""Chooses the pages of keys whose bounds score highest."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.budget import Budget, budget
from hw.attention.geometry import select_job
from hw.attention.histogram import Histogram
from hw.attention.page_keys import PageKeys, tile_rows
from hw.attention.page_memory import PageMemory
from hw.attention.page_sender import PageSender
from hw.memory.queue import Queue
from hw.signatures import choice, scores


__all__ = ["selector_latency", "Selector"]


def selector_latency(config, candidates):
    """Cycles from the last scores, of a candidate, to the end of the choices, if nobody waits.

    Two passes, two searches, and what is left of the first pass: the pages of the last tile. It
    holds if there are at least ``softmax_lanes`` vectors; with fewer, scores complete more than a
    page each cycle, and the first pass is late by up to ``candidates`` cycles.
    """
    tile = tile_rows(config)
    return 2 * candidates + 2 * Histogram.latency + tile - tile // config.softmax_lanes + 11


class Selector(wiring.Component):
    """A radix select of pages in three passes over their keys, of which the first overlaps scores.

    The numerical reference is :func:`verif.reference.select.select`. ::

        scores -> PageKeys -> PageMemory -> Histogram of the upper byte
                                        '-> Histogram of the lower byte, of those in the upper's bin
                                        '-> PageSender -> choices

    Keys of one select are kept while those of the next one come. Choices leave in the order of
    selects, so that two are never mixed up.

    Latency
    -------
    :func:`selector_latency`. The first choices leave about ``candidates`` cycles earlier.

    Throughput
    ----------
    One beat of scores each cycle. The first job of a select waits until the choices of the last
    select but one have gone.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    jobs, scores : ``In``
        As of :class:`hw.attention.page_keys.PageKeys`.
    choices : ``Out(stream.Signature(choice))``
        Chosen pages of a select, ascending, then ``end``.
    fault : ``Out(1)``
        A select begins that has more than ``config.pages`` pages. Those beyond are not chosen.
    busy : ``Out(1)``
        A select is not finished.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "jobs":    In(stream.Signature(select_job(config))),
            "scores":  In(stream.Signature(scores(config))),
            "choices": Out(stream.Signature(choice)),
            "fault":   Out(1),
            "busy":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.keys      = keys      = PageKeys(config)
        m.submodules.queue     = queue     = Queue(select_job(config), 2)
        m.submodules.budget    = plans     = Budget(config)
        m.submodules.memory    = memory    = PageMemory(config)
        m.submodules.histogram = histogram = Histogram(config.pages)
        m.submodules.sender    = sender    = PageSender(config)

        # Selects whose keys are in a bank, or come.
        selects = Signal(range(3))
        m.d.sync += [
            selects.eq(selects + keys.begin - sender.done),
            self.fault.eq(keys.begin & (self.jobs.p.pages > config.pages)),
        ]
        m.d.comb += [
            keys.room.eq(selects != 2),
            self.busy.eq((selects != 0) | keys.busy),
        ]
        wiring.connect(m, wiring.flipped(self.jobs), keys.jobs)
        wiring.connect(m, wiring.flipped(self.scores), keys.scores)
        m.d.comb += [queue.i.valid.eq(keys.begin), queue.i.payload.eq(self.jobs.p)]
        wiring.connect(m, queue.o, plans.i)

        # Keys, as they come and as they are read.
        plan = Signal(budget(config))
        bank = Signal()
        m.d.sync += bank.eq(bank ^ sender.done)
        m.d.comb += [
            memory.begin.eq(keys.begin), memory.begin_bank.eq(keys.bank),
            memory.write.eq(keys.write), memory.address.eq(keys.address),
            memory.keys.eq(keys.keys),
            memory.bank.eq(bank), memory.low.eq(plan.low), memory.high.eq(plan.high),
        ]
        self.passes(m, plans, plan, memory, histogram, sender)
        wiring.connect(m, sender.choices, wiring.flipped(self.choices))
        return m

    @staticmethod
    def passes(m, plans, plan, memory, histogram, sender):
        """Lead the keys of a select through histogram and sender."""
        upper, lower = Signal(8), Signal(8)
        page, seen   = memory.pages, Signal()
        m.d.comb += [
            seen.eq(page.valid & page.p.last),
            sender.threshold.eq(Cat(lower, upper)), sender.equals.eq(histogram.rest),
            sender.pages.payload.eq(page.payload),
        ]
        with m.FSM():
            with m.State("CLEAR"):
                with m.If(histogram.done):
                    m.next = "REST"
            with m.State("REST"):
                m.d.comb += plans.o.ready.eq(1)
                m.d.sync += plan.eq(plans.o.p)
                with m.If(plans.o.valid):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.next = "UPPER"
                m.d.comb += [memory.start.eq(plan.number != 0), sender.none.eq(plan.number == 0)]
                with m.If(plan.number == 0):
                    m.next = "SEND"
            with m.State("UPPER"):
                m.d.comb += [
                    page.ready.eq(1), histogram.count.eq(page.valid),
                    histogram.byte.eq(page.p.key[8:]),
                    histogram.search.eq(seen), histogram.need.eq(plan.number),
                ]
                with m.If(seen):
                    m.next = "UPPER_FOUND"
            with m.State("UPPER_FOUND"):
                m.d.sync += upper.eq(histogram.found)
                m.d.comb += memory.start.eq(histogram.done)
                with m.If(histogram.done):
                    m.next = "LOWER"
            with m.State("LOWER"):
                m.d.comb += [
                    page.ready.eq(1), histogram.count.eq(page.valid & (page.p.key[8:] == upper)),
                    histogram.byte.eq(page.p.key[:8]),
                    histogram.search.eq(seen), histogram.need.eq(histogram.rest),
                ]
                with m.If(seen):
                    m.next = "LOWER_FOUND"
            with m.State("LOWER_FOUND"):
                m.d.sync += lower.eq(histogram.found)
                m.d.comb += [memory.start.eq(histogram.done), sender.start.eq(histogram.done)]
                with m.If(histogram.done):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [sender.pages.valid.eq(page.valid), page.ready.eq(sender.pages.ready)]
                with m.If(sender.done):
                    m.next = "REST"
