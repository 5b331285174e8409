"""A memory that does all that AXI allows, or nothing."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.memory.axi import axi4
from hw.memory.queue import Queue


__all__ = ["AnyMemory"]


class AnyMemory(wiring.Component):
    """Answers what was asked, in order, after any time, or never, and may report errors.

    Parameters
    ----------
    config : :class:`hw.config.Config`
        With one channel.

    Members
    -------
    axi : ``In(axi4(config))``
    ready : ``In(3)``
        Of ``ar``, ``aw`` and ``w``. Free, like what follows.
    answers : ``In(2)``
        There is an answer to a read, and to a write, if one was asked for.
    error : ``In(1)``
    reads : ``Out(1)``
        A burst has not been answered to its end.
    excess : ``Out(1)``
        More bursts are asked for than ``outstanding``.
    writes : ``Out(range(words_written + 1))``
        Words that have not been answered.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "axi": In(axi4(config)), "ready": In(3), "answers": In(2), "error": In(1),
            "reads": Out(1), "excess": Out(1), "writes": Out(range(config.words_written + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        config, axi = self.config, self.axi
        # Bursts that were asked for, and words of the first that have come.
        m.submodules.asked = asked = Queue(8, config.outstanding)
        count, last = Signal(8), Signal()
        m.d.comb += [
            Cat(axi.arready, axi.awready, axi.wready).eq(self.ready),
            asked.i.valid.eq(axi.arvalid & axi.arready), asked.i.payload.eq(axi.arlen),
            self.reads.eq(asked.o.valid), self.excess.eq(asked.i.valid & ~asked.i.ready),
            last.eq(count == asked.o.payload),
            axi.rvalid.eq(asked.o.valid & self.answers[0]), axi.rlast.eq(last),
            axi.rresp.eq(self.error << 1),
            asked.o.ready.eq(axi.rvalid & axi.rready & last),
        ]
        with m.If(axi.rvalid & axi.rready):
            m.d.sync += count.eq(Mux(last, 0, count + 1))

        # A response needs address and data.
        lead, answered = Signal(signed(6)), Signal()    # lead: of data before addresses
        m.d.comb += [
            axi.bvalid.eq(self.answers[1] & (self.writes != 0) & (self.writes + lead > 0)),
            axi.bresp.eq(self.error << 1), answered.eq(axi.bvalid & axi.bready),
        ]
        m.d.sync += [self.writes.eq(self.writes + (axi.awvalid & axi.awready) - answered),
                     lead.eq(lead + (axi.wvalid & axi.wready) - (axi.awvalid & axi.awready))]
        return m
