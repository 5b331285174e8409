"""SDR SDRAM as an AXI4 slave."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.memory.axi import DECERR, OKAY, axi4
from hw.memory.queue import Queue

from .sdram_bank import Countdown, SdramBank
from .sdram_command import ACTIVATE, NOTHING, PRECHARGE, READ, WRITE
from .sdram_front import SdramFront
from .sdram_reads import SdramReads
from .sdram_refresh import SdramRefresh
from .sdram_writes import SdramWrites
from .whole_words import WholeWords


__all__ = ["Sdram", "sdram_pins"]

#: Words that wait to be taken.
WAITING = 16


def sdram_pins(chip):
    """Pins of a chip. Data pins are driven while ``dq_oe``. CKE and CS# are fixed."""
    return {
        "command": Out(3, init=NOTHING), "ba": Out(chip.bank_bits), "a": Out(chip.row_bits),
        "dqm": Out(chip.pins // 8), "dq_o": Out(chip.pins), "dq_oe": Out(1), "dq_i": In(chip.pins),
    }


class Sdram(wiring.Component):
    """Bursts of whole, aligned words on an SDRAM; a word is an access of 1, 2, 4 or 8 beats.

    A board without masks of bytes has :class:`.whole_words.WholeWords` before all this.

    Rows stay open. Before a read burst ends, the row of the next one is opened in another bank.
    Refreshes close all. Words beyond the end are not written, read as anything, and answer with
    DECERR. A write is answered when the chip has its command: what is read later sees it.

    The chip takes commands, and gives data, some time within a cycle: it gets the inverted clock,
    or one that is late (:class:`.sdram_pads.SdramPads`).

    Latency
    -------
    ``cas + beats + trip + 4`` cycles from an address to its first word in an open row, ``rcd - 1``
    more if its bank has none, ``rp + rcd`` more in another one's place.

    Throughput
    ----------
    Sequential reads use the data pins in each cycle, but for refreshes, and two cycles a row if a
    word is one beat. ``rready`` only stops reading when 16 words wait.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    chip : :class:`.sdram_chip.SdramChip`
    clock_hz : int
    trip : int
        Cycles that registers between the pins here and the chip take, there and back: of all that
        goes out together, as many, and of what comes in the rest.

    Members
    -------
    bus : ``In(axi4(config))``
        Responses carry the ID of the request.
    command, ba, a, dqm, dq_o, dq_oe, dq_i : pins, see :func:`sdram_pins`
        All outputs are registers.
    """

    def __init__(self, config, chip, clock_hz, trip=0):
        chip.check(clock_hz)
        self.config, self.chip, self.clock_hz, self.trip = config, chip, clock_hz, trip
        self.bytes = chip.bytes
        self.beats = config.data_bits // chip.pins
        if self.beats not in (1, 2, 4, 8):
            raise ValueError(f"an SDRAM with {chip.pins} pins takes a configuration with data_bits "
                             f"from {chip.pins} to {8 * chip.pins}, not {config.data_bits}; or "
                             "take memory on the chip")
        super().__init__({"bus": In(axi4(config)), **sdram_pins(chip)})

    def elaborate(self, platform):
        m = Module()
        chip, beats = self.chip, self.beats
        rrd = chip.cycles("rrd", self.clock_hz)
        m.submodules.front = front = SdramFront(self.config, chip)
        banks = [SdramBank(chip, self.clock_hz, beats) for _ in range(1 << chip.bank_bits)]
        for n, bank in enumerate(banks):
            m.submodules[f"bank_{n}"] = bank
        m.submodules.refresh = refresh = SdramRefresh(chip, self.clock_hz, beats)

        # The access that is next, and the row behind it.
        head, held, taken = Signal(front.o.payload.shape()), Signal(), Signal()
        m.d.comb += front.o.ready.eq(~held | taken)
        with m.If(front.o.ready):
            m.d.sync += [head.eq(front.o.payload), held.eq(front.o.valid)]
        m.submodules.words = words = SdramReads(chip, beats, WAITING, self.trip)
        m.submodules.writes = writes = SdramWrites(chip, beats)
        m.submodules.answers = answers = Queue(data.StructLayout({"id": 1, "bad": 1}), 2)
        bus = self.bus
        if not chip.masks:
            m.submodules.whole = whole = WholeWords(self.config)
            connect(m, flipped(self.bus), whole.i)
            bus = whole.o
        self._join(m, bus, front, words, answers)

        def of_bank(number, name):
            return Array(getattr(bank, name) for bank in banks)[number]

        # What the next access and the row behind it need.
        until_read, until_write = (Countdown(m, chip.cas + beats, f"until_{name}")
                                   for name in ("read", "write"))
        until_activate = Countdown(m, rrd, "until_activate")
        needs = []
        for place, asks in ((head.place, held),
                            (front.ahead.p, front.ahead.valid
                             & (front.ahead.p.bank != head.place.bank))):
            hit, close, open_ = Signal(), Signal(), Signal()
            opened = of_bank(place.bank, "opened")
            m.d.comb += [
                hit.eq(opened & (of_bank(place.bank, "open_row") == place.row)),
                close.eq(asks & opened & ~hit & of_bank(place.bank, "may_precharge")),
                open_.eq(asks & ~opened & of_bank(place.bank, "may_activate")
                         & until_activate.over),
            ]
            needs.append((place, hit, close, open_))
        goes = Signal()
        m.d.comb += goes.eq(held & needs[0][1] & of_bank(head.place.bank, "may_access") & Mux(
            head.write, until_write.over & answers.i.ready, until_read.over & words.room))

        # Control: one command a cycle.
        command, bank, address = Signal(3), Signal.like(self.ba), Signal.like(self.a)
        m.d.sync += [self.command.eq(command), self.ba.eq(bank), self.a.eq(address)]
        m.d.comb += [
            refresh.may_precharge.eq(Cat(one.may_precharge for one in banks).all()),
            refresh.may_activate.eq(Cat(one.may_activate for one in banks).all()),
            command.eq(refresh.command), address.eq(refresh.address),
        ]
        for one in banks:
            m.d.comb += [one.precharge.eq(refresh.precharge), one.refresh.eq(refresh.refresh)]

        def close_row(place):
            m.d.comb += [command.eq(PRECHARGE), bank.eq(place.bank),
                         of_bank(place.bank, "precharge").eq(1)]

        def open_row(place):
            m.d.comb += [command.eq(ACTIVATE), bank.eq(place.bank), address.eq(place.row),
                         of_bank(place.bank, "activate").eq(1)]

        with m.If(refresh.free):
            (place, _, close, open_), (next_place, _, next_close, next_open) = needs
            with m.If(close):
                close_row(place)
            with m.Elif(open_):
                open_row(place)
            with m.Elif(next_close):
                close_row(next_place)
            with m.Elif(next_open):
                open_row(next_place)
            with m.Elif(goes):
                m.d.comb += [command.eq(Mux(head.write, WRITE, READ)), taken.eq(1),
                             bank.eq(place.bank), address.eq(head.column)]
                if not chip.masks:
                    # Nothing but a mask would keep it from being written.
                    with m.If(head.write & head.bad):
                        m.d.comb += command.eq(NOTHING)

        # Who is told.
        m.d.comb += [
            words.read.eq(taken & ~head.write), words.last.eq(head.last),
            words.tag.eq(Cat(head.id, head.bad)), words.dq.eq(self.dq_i),
            writes.write.eq(taken & head.write), writes.data.eq(head.data),
            writes.strobe.eq(head.strobe), self.dq_o.eq(writes.dq), self.dq_oe.eq(writes.oe),
            self.dqm.eq(writes.dqm), answers.i.valid.eq(writes.write & head.last),
            answers.i.p.id.eq(head.id), answers.i.p.bad.eq(head.bad),
        ]
        for n, one in enumerate(banks):
            m.d.comb += [one.row.eq(address), one.read.eq(words.read & (bank == n)),
                         one.write.eq(writes.write & (bank == n))]
        until_read.start(taken, beats)
        until_write.start(writes.write, beats)
        until_write.start(words.read, chip.cas + beats)
        until_activate.start(command == ACTIVATE, rrd)
        return m

    def _join(self, m, bus, front, words, answers):
        """The bus with the streams behind it."""
        for kind, port in (("ar", front.reads), ("aw", front.writes)):
            m.d.comb += [
                port.valid.eq(getattr(bus, f"{kind}valid")),
                getattr(bus, f"{kind}ready").eq(port.ready),
                port.p.id.eq(getattr(bus, f"{kind}id")),
                port.p.address.eq(getattr(bus, f"{kind}addr")),
                port.p.length.eq(getattr(bus, f"{kind}len")),
            ]
        m.d.comb += [
            front.words.valid.eq(bus.wvalid), bus.wready.eq(front.words.ready),
            front.words.p.data.eq(bus.wdata), front.words.p.strobe.eq(bus.wstrb),
            front.words.p.last.eq(bus.wlast),
            bus.rvalid.eq(words.o.valid), words.o.ready.eq(bus.rready),
            bus.rdata.eq(words.o.p.data), bus.rlast.eq(words.o.p.last),
            bus.rid.eq(words.o.p.tag[0]), bus.rresp.eq(Mux(words.o.p.tag[1], DECERR, OKAY)),
            bus.bvalid.eq(answers.o.valid), answers.o.ready.eq(bus.bready),
            bus.bid.eq(answers.o.p.id), bus.bresp.eq(Mux(answers.o.p.bad, DECERR, OKAY)),
        ]
