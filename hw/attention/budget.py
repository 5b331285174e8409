"""How many pages are chosen, and from which."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.attention.geometry import select_job


__all__ = ["budget", "Budget"]


def budget(config):
    """Choose ``number`` of the pages ``low`` to ``high - 1``; if it is 0, none."""
    return data.StructLayout({
        "low":    range(config.pages),
        "high":   range(config.pages + 1),
        "number": range(config.pages + 1),
    })


class Budget(wiring.Component):
    """Candidates of a select, and how many of them it takes.

    The reference is :func:`verif.reference.select.select`.

    Latency
    -------
    Three cycles from ``i`` to ``o``.

    Throughput
    ----------
    One each four cycles. ``i.ready`` depends on ``o.ready``: ``i`` is taken with ``o``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(stream.Signature(select_job(config)))``
        The first job of a select. Pages beyond ``config.pages`` are not chosen.
    o : ``Out(stream.Signature(budget(config)))``
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"i": In(stream.Signature(select_job(config))),
                          "o": Out(stream.Signature(budget(config)))})

    def elaborate(self, platform):
        m = Module()
        pages, count = self.config.pages, range(self.config.pages + 1)
        job = self.i.p

        # Control: what stands at the input has gone through all stages after three cycles.
        age = Signal(3)
        m.d.comb += [self.o.valid.eq(age[-1]), self.i.ready.eq(age[-1] & self.o.ready)]
        m.d.sync += age.eq(Mux(self.i.ready, 0, Cat(self.i.valid, age)))

        # Stage 1: pages that there are.
        s1_count = Signal(count)
        m.d.sync += s1_count.eq(Mux(job.pages > pages, pages, job.pages))

        # Stage 2: the end of the candidates, and the share.
        s2_high  = Signal(count)
        s2_share = Signal(count)
        m.d.sync += [
            s2_high.eq(Mux(s1_count > job.recent, s1_count - job.recent, 0)),
            s2_share.eq(s1_count >> job.shift),
        ]

        # Stage 3: both as numbers of pages.
        s3_candidates = Signal(count)
        s3_wanted     = Signal(12 if pages < 4096 else 13)
        m.d.sync += [
            s3_candidates.eq(Mux(s2_high > job.skip, s2_high - job.skip, 0)),
            s3_wanted.eq(Mux(s2_share > job.least, s2_share, job.least)),
        ]
        m.d.comb += [
            self.o.p.low.eq(job.skip), self.o.p.high.eq(s2_high),
            self.o.p.number.eq(Mux(s3_wanted < s3_candidates, s3_wanted, s3_candidates)),
        ]
        return m
