"""The ranges of memory that the cache holds, and the instructions that change them."""

from amaranth import *
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2, exact_log2

from ..signatures import range_command


__all__ = ["Ranges", "match"]


class State(enum.Enum, shape=3):
    REST = 0
    MEASURE = 1     # where the range ends, in memory and in the SRAM
    COMPARE = 2     # with the other ranges, one a cycle
    DRAIN = 3       # until nothing is looked up or on its way
    CLEAR = 4       # valid bits, those of a burst a cycle
    FAILED = 5


def match(ranges, first, last=None):
    """Bit for each range: whether it holds all lines from ``first`` to ``last``."""
    last = first if last is None else last
    return Cat(ranges.live[n] & (first >= ranges.first[n]) & (last <= ranges.last[n])
               for n in range(len(ranges.live)))


class Ranges(wiring.Component):
    """Executes ``pin`` and ``drop``.

    While a range changes, nothing is looked up: ``hold`` goes up with a command, the range changes
    when ``quiet`` says that the cache is empty, and ``hold`` falls when the range's valid bits are
    cleared. What comes then finds the new range, so nothing is ever read from an old one.

    A range must end inside the SRAM and inside the 2^32 lines of memory, and share neither lines
    nor bursts of the SRAM with another live one; else ``fault`` rises, and nothing is changed.

    Latency
    -------
    ``commands.ready`` comes ``config.ranges + 1`` cycles after a ``pin`` was offered, and at once
    for a ``drop``. ``hold`` lasts until the cache is empty, and a cycle a burst of the range.

    Throughput
    ----------
    One command at a time.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    commands : ``In(stream.Signature(range_command(config)))``
        A command that waits stays unchanged.
    fault : ``Out(1)``
        From now on: the range is illegal.
    hold : ``Out(1)``
        Look nothing up.
    quiet : ``In(1)``
        Nothing is looked up, and no read on its way.
    stall : ``In(1)``
        Clear nothing in this cycle.
    live, first, last, shift : ``Out``, arrays
        Of each range: whether it is pinned, its first and last line, and the distance from a burst
        of memory to its place in the SRAM, modulo bursts of the SRAM.
    begun, preload, ended : ``Out(config.ranges)``
        In a cycle: the range is pinned from the next cycle on; it is to be read; it is no longer
        what it was.
    clear, row : ``Out``
        Clear the valid bits of a burst of the SRAM.
    """

    def __init__(self, config):
        self.config = config
        rows = config.cache_bursts
        super().__init__({
            "commands": In(stream.Signature(range_command(config))),
            "fault": Out(1), "hold": Out(1), "quiet": In(1), "stall": In(1),
            "live": Out(config.ranges),
            "first": Out(32).array(config.ranges), "last": Out(32).array(config.ranges),
            "shift": Out(ceil_log2(rows)).array(config.ranges),
            "begun": Out(config.ranges), "preload": Out(config.ranges),
            "ended": Out(config.ranges),
            "clear": Out(1), "row": Out(ceil_log2(rows)),
        })

    def elaborate(self, platform):
        m = Module()
        config, rows = self.config, self.config.cache_bursts
        lines = exact_log2(config.burst_lines)
        bits = ceil_log2(rows)
        state, waiting = Signal(State), Signal(range_command(config))
        asked = self.commands.p
        end, top = Signal(33), Signal(33)           # last line, last burst of the SRAM
        tops = [Signal(bits, name=f"top_{n}") for n in range(config.ranges)]
        places = [Signal(bits, name=f"place_{n}") for n in range(config.ranges)]
        other, common = Signal(bits_for(config.ranges - 1)), Signal()

        m.d.comb += [self.hold.eq((state != State.REST) | self.commands.valid),
                     self.fault.eq(state == State.FAILED)]
        with m.Switch(state):
            with m.Case(State.REST):
                m.d.sync += [end.eq(asked.first + asked.lines - 1), other.eq(0),
                             waiting.eq(asked)]
                with m.If(self.commands.valid & asked.live):
                    m.d.sync += state.eq(State.MEASURE)
                with m.Elif(self.commands.valid):
                    m.d.comb += self.commands.ready.eq(1)
                    m.d.sync += state.eq(State.DRAIN)
            with m.Case(State.MEASURE):
                m.d.sync += [
                    top.eq(asked.place + (end[lines:32] - asked.first[lines:])[:32 - lines]),
                    state.eq(Mux(end[32], State.FAILED, State.COMPARE)),
                ]
            with m.Case(State.COMPARE):
                with m.Switch(other):
                    for n in range(config.ranges):
                        with m.Case(n):
                            m.d.comb += common.eq(
                                self.live[n] & (asked.slot != n)
                                & ((asked.first <= self.last[n]) & (end >= self.first[n])
                                   | (asked.place <= tops[n]) & (top >= places[n])))
                m.d.sync += other.eq(other + 1)
                with m.If((top >= rows) | common):
                    m.d.sync += state.eq(State.FAILED)
                with m.Elif(other == config.ranges - 1):
                    m.d.comb += self.commands.ready.eq(1)
                    m.d.sync += state.eq(State.DRAIN)
            with m.Case(State.DRAIN):
                with m.If(self.quiet):
                    m.d.comb += self.ended.eq(1 << waiting.slot)
                    m.d.sync += [self.row.eq(waiting.place),
                                 state.eq(Mux(waiting.live, State.CLEAR, State.REST))]
            with m.Case(State.CLEAR):
                m.d.comb += self.clear.eq(~self.stall)
                m.d.sync += self.row.eq(self.row + ~self.stall)
                with m.If((self.row == top) & ~self.stall):
                    m.d.comb += [self.begun.eq(1 << waiting.slot),
                                 self.preload.eq(Mux(waiting.preload, self.begun, 0))]
                    m.d.sync += state.eq(State.REST)
            with m.Default():
                pass

        for n in range(config.ranges):
            with m.If(self.ended[n]):
                m.d.sync += self.live[n].eq(0)
            with m.If(self.begun[n]):
                m.d.sync += [
                    self.live[n].eq(1), self.first[n].eq(waiting.first), self.last[n].eq(end),
                    places[n].eq(waiting.place), tops[n].eq(top),
                    self.shift[n].eq(waiting.place - waiting.first[lines:]),
                ]
        return m
