"""Finds out which bursts are in the cache."""

from functools import reduce
from operator import and_

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2, exact_log2

from ..signatures import read_request
from .ranges import match


__all__ = ["Lookup", "found"]


def found(config):
    """What is known of a request."""
    return data.StructLayout({
        "request": read_request(config),
        "hit":     1,                                   # it is in the SRAM,
        "fill":    1,                                   # or it comes from memory and goes there
        "slot":    bits_for(config.ranges - 1),         # range in which it is, if any,
        "row":     ceil_log2(config.cache_bursts),      # and its burst of the SRAM
    })


class Lookup(wiring.Component):
    """Takes one request a cycle, the first requester first, and says whether all its lines are
    valid.

    A request that is not wholly inside one range is neither a hit nor a fill. With ``config.ecc``
    valid bits are kept twice, in two memories, and a line is valid if both say so: a wrong one is a
    miss.

    Latency
    -------
    ``latency`` cycles from a request to ``found``. A line that became valid in the last two
    of them may not be seen yet.

    Throughput
    ----------
    One request each cycle. Nothing waits inside: a request is taken when its requester has room
    for what is found. ``ready`` depends on the requests before it, on ``room`` and on ``hold``.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    names : list of str
        Requesters.

    Members
    -------
    NAME : ``In(stream.Signature(read_request(config)))``, for each requester
    NAME_room : ``In(1)``
        There is room for what is found of one more request.
    NAME_valid : ``Out(1)``
        ``found`` is of this requester.
    found : ``Out(found(config))``
    ranges : ``In``
        ``live``, ``first``, ``last`` and ``shift`` of :class:`.Ranges`.
    hold : ``In(1)``
        Take no requests.
    busy : ``Out(1)``
        Something is being looked up.
    clear, clear_row : ``In``
        Clear the valid bits of a burst; only while this is not busy.
    set_lines, set_row : ``In``
        Lines of a burst that have become valid; not in a cycle with ``clear`` or ``drop_lines``.
    drop_lines : ``In``
        Lines of the burst ``set_row`` that are no longer valid; not in a cycle with ``clear``.
    """

    latency = 2

    def __init__(self, config, names):
        self.config, self.names = config, names
        row = ceil_log2(config.cache_bursts)
        super().__init__({
            **{name: In(stream.Signature(read_request(config))) for name in names},
            **{f"{name}_room": In(1) for name in names},
            **{f"{name}_valid": Out(1) for name in names},
            "found": Out(found(config)),
            "live": In(config.ranges),
            "first": In(32).array(config.ranges), "last": In(32).array(config.ranges),
            "shift": In(row).array(config.ranges),
            "hold": In(1), "busy": Out(1),
            "clear": In(1), "clear_row": In(row),
            "set_lines": In(config.burst_lines), "set_row": In(row),
            "drop_lines": In(config.burst_lines),
        })

    def elaborate(self, platform):
        m = Module()
        config, names = self.config, self.names
        word, line = exact_log2(config.word_bytes), exact_log2(config.line_bytes)
        span = exact_log2(config.burst_bytes)

        # A request, and which range holds its lines.
        request, taken = Signal(read_request(config)), Signal(len(names))
        before = Const(0)
        for n, name in enumerate(names):
            port, offered = getattr(self, name), Signal(name=f"{name}_offered")
            m.d.comb += [offered.eq(port.valid & getattr(self, f"{name}_room") & ~self.hold),
                         port.ready.eq(getattr(self, f"{name}_room") & ~self.hold & ~before),
                         taken[n].eq(offered & ~before)]
            with m.If(taken[n]):
                m.d.comb += request.eq(port.payload)
            before = before | offered
        last = Signal(span - word)                  # last word in the burst
        m.d.comb += last.eq(request.address[word:span] + request.words - 1)
        burst, first_line = request.address[span:], request.address[line:span]
        last_line = Signal(max(span - line, 1))
        m.d.comb += last_line.eq(last >> (line - word))

        # Stage 1: the valid bits leave their memory.
        s1_request, s1_taken = Signal(read_request(config)), Signal(len(names))
        s1_match, s1_lines = Signal(config.ranges), Signal(config.burst_lines)
        s1_row, slot, shift = Signal.like(self.set_row), Signal.like(self.found.slot), (
            Signal.like(self.set_row))
        m.d.sync += [
            s1_request.eq(request), s1_taken.eq(taken),
            s1_match.eq(match(self, request.address[line:], Cat(last_line[:span - line], burst))),
            s1_lines.eq(Cat((first_line <= n) & (last_line >= n)
                            for n in range(config.burst_lines))),
        ]
        for n in range(config.ranges):
            with m.If(s1_match[n]):
                m.d.comb += [slot.eq(n), shift.eq(self.shift[n])]
        m.d.comb += s1_row.eq(s1_request.address[span:] + shift)

        # Stage 2: hit or miss.
        s2_taken, s2_lines, s2_inside = Signal(len(names)), Signal.like(s1_lines), Signal()
        is_valid = Signal(config.burst_lines)
        m.d.sync += [
            s2_taken.eq(s1_taken), s2_lines.eq(s1_lines), s2_inside.eq(s1_match.any()),
            self.found.request.eq(s1_request), self.found.slot.eq(slot),
            self.found.row.eq(s1_row),
        ]
        m.d.comb += [
            self.found.hit.eq(s2_inside & ~(s2_lines & ~is_valid).any()),
            self.found.fill.eq(s2_inside & ~self.found.hit),
            self.busy.eq(s1_taken.any() | s2_taken.any()),
            *(getattr(self, f"{name}_valid").eq(s2_taken[n]) for n, name in enumerate(names)),
        ]

        # Each copy of the valid bits is a memory of its own: neighbours are never copies.
        copies = []
        for n in range(2 if config.ecc else 1):
            m.submodules[f"valid_{n}"] = memory = Memory(
                shape=config.burst_lines, depth=config.cache_bursts, init=[])
            write, read = memory.write_port(granularity=1), memory.read_port()
            m.d.comb += [
                read.addr.eq(s1_row), read.en.eq(1),
                write.addr.eq(Mux(self.clear, self.clear_row, self.set_row)),
                write.data.eq(Mux(self.clear, 0, self.set_lines)),
                write.en.eq(Mux(self.clear, ~0, self.set_lines | self.drop_lines)),
            ]
            copies.append(read.data)
        m.d.comb += is_valid.eq(reduce(and_, copies))
        return m
