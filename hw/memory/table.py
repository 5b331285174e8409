"""Reads the block table, which says where slots lie."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..signatures import read_data, read_request
from .choose import choose
from .flight import Flight
from .slots import located


__all__ = ["placed", "Table"]

#: Words that are held or on their way.
WORDS = 2

#: A block with its place.
placed = data.StructLayout({name: field.shape for name, field in located if name != "slot"}
                           | {"place": 32})


class Table(wiring.Component):
    """Replaces slots by what the walk's block table holds for them, if there is a table.

    The word of memory that holds the entry is kept, and the next word is read ahead: slots ascend
    but for the few jumps of a pattern. Each walk reads its words anew, for the table may have
    been changed since.

    Latency
    -------
    Two cycles, if the word is here.

    Throughput
    ----------
    One block each cycle. ``i.ready`` depends on ``i`` and on ``o.ready``.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    i : ``In(stream.Signature(located))``
    o : ``Out(stream.Signature(placed))``
    requests : ``Out(stream.Signature(read_request(config)))``
    data : ``In(stream.Signature(read_data(config)))``
        Always ready.
    flush : ``In(1)``
        Forget all blocks, and words with the next one. ``o`` may be withdrawn; a request that
        waits stays, and its word is discarded when it comes.
    fault : ``Out(1)``
        From now on: a slot is beyond the table. Its block goes no further.
    taken : ``Out(1)``
        For counters: a word came.
    busy : ``Out(1)``
        A block is here.
    """

    latency = 2

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(located)), "o": Out(stream.Signature(placed)),
            "requests": Out(stream.Signature(read_request(config))),
            "data": In(stream.Signature(read_data(config))),
            "flush": In(1), "fault": Out(1), "taken": Out(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, i = self.config, self.i.p
        line, word = exact_log2(config.line_bytes), exact_log2(config.word_bytes)
        inside = word - 2                   # bits of an entry's number in its word
        m.submodules.flight = flight = Flight(config)
        m.submodules.rows = rows = Memory(shape=config.word_bits, depth=WORDS, init=[])
        write, read = rows.write_port(), rows.read_port()

        # Words ``head..next-1`` were asked for; ``have`` of them are here.
        head, following, last = Signal(20), Signal(20), Signal(20)
        asked, have = Signal(range(WORDS + 1)), Signal(range(WORDS + 1))
        begun = Signal()                    # words are those of the walk at ``i``

        # Control: the word that the block wants is here, is the next one, or is another.
        paged, outside, wanted = Signal(), Signal(), Signal(20)
        hit, step, jump, advance, accepted = (Signal(name=name) for name in (
            "hit", "step", "jump", "advance", "accepted"))
        m.d.comb += [
            paged.eq(i.entries != 0), outside.eq(paged & (i.slot >= i.entries)),
            wanted.eq(i.slot[inside:]),
            self.i.ready.eq(advance & (~paged | hit)),
            accepted.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.i.valid & paged & ~outside):
            with m.If((i.first & ~begun) | ((wanted != head) & (wanted != head + 1))):
                m.d.comb += jump.eq(1)
            with m.Elif(wanted == head):
                m.d.comb += hit.eq(have != 0)
            with m.Else():
                m.d.comb += step.eq(have != 0)
        with m.If(accepted):
            m.d.sync += begun.eq(0)
        with m.If(self.i.valid & outside & ~self.flush):
            m.d.sync += self.fault.eq(1)

        # Requests.
        ask = Signal()
        m.d.comb += ask.eq(
            self.i.valid & paged & ~outside & ~jump & ~step & (asked != WORDS)
            & (following <= last) & (~self.requests.valid | self.requests.ready))
        with m.If(self.requests.ready):
            m.d.sync += self.requests.valid.eq(0)
        with m.If(ask):
            m.d.sync += [self.requests.valid.eq(1), self.requests.p.words.eq(1),
                         self.requests.p.address.eq((i.table << line) + (following << word)),
                         following.eq(following + 1)]
        m.d.sync += [asked.eq(asked + ask - step), have.eq(have + flight.wanted - step)]
        with m.If(step):
            m.d.sync += head.eq(head + 1)
        with m.If(jump):
            m.d.sync += [head.eq(wanted), following.eq(wanted), begun.eq(1),
                         last.eq((i.entries - 1) >> inside), asked.eq(0), have.eq(0)]

        # Words.
        m.d.comb += [
            self.data.ready.eq(1), self.taken.eq(self.data.valid),
            flight.asked.eq(ask), flight.came.eq(self.data.valid),
            flight.flush.eq(jump),
            write.addr.eq(head[0] ^ have[0]), write.data.eq(self.data.p.data),
            write.en.eq(flight.wanted),
            read.addr.eq(head[0]), read.en.eq(advance),
        ]

        # Stage 1: the word leaves its memory. Stage 2: the entry.
        s1, s1_valid, s1_paged = Signal(located), Signal(), Signal()
        entry = choose(m, read.data, s1.slot[:inside], 32, "entry")
        s2_free = ~self.o.valid | self.o.ready
        m.d.comb += [advance.eq(~s1_valid | s2_free), self.busy.eq(s1_valid | self.o.valid)]
        with m.If(s2_free):
            m.d.sync += [
                self.o.valid.eq(s1_valid),
                *(self.o.p[name].eq(s1[name]) for name, _ in placed if name != "place"),
                self.o.p.place.eq(Mux(s1_paged, entry, s1.slot)),
            ]
        with m.If(advance):
            m.d.sync += [s1.eq(i), s1_valid.eq(accepted), s1_paged.eq(paged)]
        # Words need no flush: the next walk begins with a jump, which discards them.
        with m.If(self.flush):
            m.d.sync += [s1_valid.eq(0), self.o.valid.eq(0), begun.eq(0)]
        return m
