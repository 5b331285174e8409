"""Whatever a core does, and memory does or leaves undone: a run that must end does."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect

from hw.memory.port import MemoryPort
from hw.run_control import RunControl
from verif.formal.any_memory import AnyMemory


__all__ = ["RestSpec"]


class RestSpec(wiring.Component):
    """Run control and memory port, with a core that asks for anything at any time.

    A fault, an abort and the end of a program lead to the halt at once, and so do ``watchdog``
    cycles without progress. In the halt there are at most as many handshakes as answers are owed,
    and it ends ``watchdog`` cycles after the last one, or before. Then the core is in reset, and
    nothing is asked for until the next start, which finds the port quiet.

    Parameters
    ----------
    config : :class:`hw.config.Config`
        With one channel.
    watchdog, words : int
        Cycles, and words of the longest burst. Few, for the sake of the solver.
    """

    def __init__(self, config, watchdog, words):
        self.config, self.watchdog, self.words = config, watchdog, words
        super().__init__({
            "start": In(1), "abort": In(1), "progress": In(1), "stopped": In(1), "wrong": In(1),
            "broken": In(1),
            "r_valid": In(1), "r_inside": In(1), "r_words": In(range(words + 1)),
            "w_valid": In(1), "w_inside": In(1), "take": In(1),
            "ready": In(3), "answers": In(2), "error": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, page = self.config, 1 << 12
        m.submodules.port = port = MemoryPort(config)
        m.submodules.memory = memory = AnyMemory(config)
        m.submodules.control = control = RunControl(config)
        running, done, _, hung = control.status
        connect(m, port.axi[0], memory.axi)
        m.d.comb += [
            Assume(~ResetSignal()),
            memory.ready.eq(self.ready), memory.answers.eq(self.answers),
            memory.error.eq(self.error),
            # The core, which its reset cuts off at any time.
            Assume((self.r_words != 0) & (self.r_words <= self.words)),
            port.reads.valid.eq(self.r_valid), port.reads.p.words.eq(self.r_words),
            port.reads.p.address.eq(Mux(self.r_inside, page, 0)),
            port.writes.valid.eq(self.w_valid), port.writes.p.strobe.eq(1),
            port.writes.p.address.eq(Mux(self.w_inside, page, 0)),
            port.data.ready.eq(self.take),
            port.read_base.eq(1), port.read_limit.eq(2),
            port.write_base.eq(1), port.write_limit.eq(2),
            # The registers let no start through while the machine is not at rest.
            control.start.eq(self.start & ~running & ~hung), control.abort.eq(self.abort),
            control.watchdog.eq(self.watchdog), control.progress.eq(self.progress),
            control.stopped.eq(self.stopped), control.wrong.illegal.eq(self.wrong),
            control.broken.eq(self.broken), control.fault.eq(port.fault),
            control.quiet.eq(port.quiet), control.moved.eq(port.moved),
            port.halt.eq(control.halt),
        ]

        # What must end a run does, in the next cycle.
        halting, must = Signal(), Signal()
        m.d.comb += halting.eq(running & control.halt)
        m.d.sync += must.eq(control.counting & (
            self.abort | self.stopped | self.wrong | self.broken | port.fault.valid))
        m.d.comb += Assert(~must | halting)
        # Without progress it does too.
        idle = Signal(range(self.watchdog + 3))
        with m.If(running & ~halting & ~self.progress):
            m.d.sync += idle.eq(idle + 1)
        with m.Else():
            m.d.sync += idle.eq(0)
        m.d.comb += Assert(idle <= self.watchdog + 1)

        # The halt ends.
        moves = Signal(range(self.most + 2))
        still = Signal(range(self.watchdog + 3))
        with m.If(~halting):
            m.d.sync += [moves.eq(0), still.eq(0)]
        with m.Else():
            m.d.sync += [moves.eq(moves + port.moved), still.eq(Mux(port.moved, 0, still + 1))]
        quiet = Signal()
        m.d.sync += quiet.eq(halting & port.quiet)
        m.d.comb += [Assert(moves <= self.most), Assert(still <= self.watchdog + 1),
                     Assert(~quiet | ~halting)]

        # At rest nothing is asked for, and nothing is left for the next run.
        rest, begun = Signal(), Signal()
        m.d.sync += [rest.eq(~running), begun.eq(control.start)]
        m.d.comb += [
            Assert(~rest | control.core_reset),
            Assert(~(control.core_reset & control.halt) | ~(port.reads.ready | port.writes.ready)),
            Assert(~begun | (running & port.quiet & ~port.fault.valid & ~port.moved)),
            Assert(running | ~done | (hung == ~port.quiet)),
            Assert(running | port.quiet | hung),
        ]
        return m

    @property
    def most(self):
        """Handshakes that may come in a halt: addresses and words of all bursts in flight, and
        address, data and response of all written words, and one that the port tells late."""
        config = self.config
        return config.outstanding * (self.words + 1) + 3 * config.words_written + 1
