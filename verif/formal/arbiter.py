"""What the readers of memory may count on when they share it."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.memory.arbiter import ReadArbiter, requesters


__all__ = ["ArbiterSpec"]


class ArbiterSpec(wiring.Component):
    """The first who asks is granted, at once if there is room; words go to whom they belong.

    One burst, chosen freely, is followed from its grant to its last word. Memory answers what was
    asked, in order, after any time.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    words : int
        Of the longest burst. Few, for the sake of the solver.
    """

    def __init__(self, config, words):
        self.config, self.words = config, words
        self.names = requesters(config)
        super().__init__({
            **{f"{name}_asks": In(1) for name in self.names},
            **{f"{name}_words": In(range(words + 1)) for name in self.names},
            **{f"{name}_takes": In(1) for name in self.names},
            "taken": In(1), "answers": In(1), "answer": In(2), "choose": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = ReadArbiter(self.config)
        requests = [getattr(arbiter, name) for name in self.names]
        targets = [getattr(arbiter, f"{name}_data") for name in self.names]
        m.d.comb += [Assume(~ResetSignal()), arbiter.reads.ready.eq(self.taken),
                     arbiter.data.p.data.eq(self.answer)]
        for n, name in enumerate(self.names):
            words = getattr(self, f"{name}_words")
            m.d.comb += [
                requests[n].valid.eq(getattr(self, f"{name}_asks")),
                requests[n].p.words.eq(words), requests[n].p.address.eq(n),
                Assume((words != 0) & (words <= self.words)),
                targets[n].ready.eq(getattr(self, f"{name}_takes")),
            ]

        # Memory has been asked for so many words; so many were granted and have not come.
        most = self.words * (self.config.outstanding + 3)
        asked, owed = Signal(range(most + 1)), Signal(range(most + 1))
        came, granted = Signal(), Signal(range(self.words + 1))
        m.d.comb += [
            arbiter.data.valid.eq(self.answers & (asked != 0)),
            came.eq(arbiter.data.valid & arbiter.data.ready),
            granted.eq(sum(Mux(request.valid & request.ready, request.p.words, 0)
                           for request in requests)),
            # The port has room for so many bursts.
            Assume(asked <= self.words * self.config.outstanding),
        ]
        m.d.sync += [
            asked.eq(asked + Mux(arbiter.reads.valid & arbiter.reads.ready,
                                 arbiter.reads.p.words, 0) - came),
            owed.eq(owed + granted - came),
        ]

        # Who is granted, and when.
        higher = Const(0)
        for request in requests:
            m.d.comb += Assert(~(request.valid & request.ready & higher))
            # Two bursts less than the arbiter keeps are always taken.
            with m.If(request.valid & ~higher & ~arbiter.reads.valid
                      & (owed < self.config.outstanding)):
                m.d.comb += Assert(request.ready)
            higher |= request.valid
        m.d.comb += [
            Assert(~arbiter.reads.valid | (arbiter.reads.p.words != 0)),
            # Each word goes to one of them.
            Assert(~arbiter.data.valid | (sum(target.valid for target in targets) == 1)),
            Assert(arbiter.data.valid | ~Cat(target.valid for target in targets).any()),
        ]

        # The chosen burst.
        following, who = Signal(), Signal(range(len(self.names)))
        ahead, left = Signal.like(owed), Signal(range(self.words + 1))
        for n, request in enumerate(requests):
            with m.If(request.valid & request.ready & self.choose & ~following):
                m.d.sync += [following.eq(1), who.eq(n), left.eq(request.p.words),
                             ahead.eq(owed - came)]
        with m.If(following & came):
            with m.If(ahead != 0):
                m.d.sync += ahead.eq(ahead - 1)
            with m.Else():
                m.d.comb += [Assert(Array(targets[n].valid for n in range(len(targets)))[who]),
                             Assert(Array(targets[n].p.data for n in range(len(targets)))[who]
                                    == self.answer)]
                m.d.sync += left.eq(left - 1)
                with m.If(left == 1):
                    m.d.sync += following.eq(0)
        return m
