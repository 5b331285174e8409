"""SDR SDRAM as an AXI4 slave."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.memory.axi import OKAY, axi4
from hw.memory.queue import Queue

from .ram import DECERR
from .sdram_bank import Countdown, SdramBank
from .sdram_front import SdramFront
from .sdram_reads import SdramReads
from .sdram_writes import SdramWrites


__all__ = ["Sdram", "sdram_pins"]

#: (RAS#, CAS#, WE#) of the commands.
NOTHING, ACTIVATE, READ, WRITE = 0b111, 0b011, 0b101, 0b100
PRECHARGE, REFRESH, MODE = 0b010, 0b001, 0b000

#: Address bit with which a precharge is for all banks.
ALL = 1 << 10

#: Refreshes after power-up, and words that wait to be taken.
FIRST_REFRESHES, WAITING = 8, 16


def sdram_pins(chip):
    """Pins of a chip. Data pins are driven while ``dq_oe``. CKE and CS# are fixed."""
    return {
        "command": Out(3, init=NOTHING), "ba": Out(chip.bank_bits), "a": Out(chip.row_bits),
        "dqm": Out(chip.pins // 8), "dq_o": Out(chip.pins), "dq_oe": Out(1), "dq_i": In(chip.pins),
    }


class Sdram(wiring.Component):
    """Bursts of whole, aligned words on an SDRAM; a word is an access of 1, 2, 4 or 8 beats.

    Rows stay open. Before a read burst ends, the row of the next one is opened in another bank.
    Refreshes close all. Words beyond the end are not written, read as anything, and answer with
    DECERR. A write is answered when the chip has its command: what is read later sees it.

    The chip gets the inverted clock: it takes commands, and gives data, in the middle of a cycle.

    Latency
    -------
    ``cas + beats + 4`` cycles from an address to its first word in an open row, ``rcd - 1`` more
    if its bank has none, ``rp + rcd`` more in another one's place.

    Throughput
    ----------
    Sequential reads use the data pins in each cycle, but for refreshes, and two cycles a row if a
    word is one beat. ``rready`` only stops reading when 16 words wait.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    chip : :class:`.sdram_chip.SdramChip`
    clock_hz : int

    Members
    -------
    bus : ``In(axi4(config))``
        Responses carry the ID of the request.
    command, ba, a, dqm, dq_o, dq_oe, dq_i : pins, see :func:`sdram_pins`
        All outputs are registers.
    """

    def __init__(self, config, chip, clock_hz):
        chip.check(clock_hz)
        self.config, self.chip, self.clock_hz = config, chip, clock_hz
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
        time = {name: chip.cycles(name, self.clock_hz) for name in ("rrd", "power_up")}
        period = int(chip.refresh * self.clock_hz / 1e9)
        m.submodules.front = front = SdramFront(self.config, chip)
        banks = [SdramBank(chip, self.clock_hz, beats) for _ in range(1 << chip.bank_bits)]
        for n, bank in enumerate(banks):
            m.submodules[f"bank_{n}"] = bank

        # The access that is next, and the row behind it.
        head, held, taken = Signal(front.o.payload.shape()), Signal(), Signal()
        m.d.comb += front.o.ready.eq(~held | taken)
        with m.If(front.o.ready):
            m.d.sync += [head.eq(front.o.payload), held.eq(front.o.valid)]
        m.submodules.words = words = SdramReads(chip, beats, WAITING)
        m.submodules.writes = writes = SdramWrites(chip, beats)
        m.submodules.answers = answers = Queue(data.StructLayout({"id": 1, "bad": 1}), 2)
        self._join(m, front, words, answers)

        def of_bank(number, name):
            return Array(getattr(bank, name) for bank in banks)[number]

        # What the next access and the row behind it need.
        until_read, until_write = (Countdown(m, chip.cas + beats, f"until_{name}")
                                   for name in ("read", "write"))
        until_activate = Countdown(m, time["rrd"], "until_activate")
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
        m.d.comb += command.eq(NOTHING)
        m.d.sync += [self.command.eq(command), self.ba.eq(bank), self.a.eq(address)]
        left = Signal(range(max(time["power_up"], period) + 1), init=time["power_up"])
        first, due = Signal(range(FIRST_REFRESHES + 1), init=FIRST_REFRESHES), Signal()
        quiet, closed = Signal(), Signal()
        m.d.comb += [quiet.eq(Cat(one.may_precharge for one in banks).all()),
                     closed.eq(Cat(one.may_activate for one in banks).all())]
        m.d.sync += left.eq(left - 1)
        with m.FSM():
            with m.State("POWER"):
                with m.If(left == 0):
                    m.d.sync += left.eq(period - 1)
                    m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += address.eq(ALL)
                with m.If(quiet):
                    m.d.comb += command.eq(PRECHARGE)
                    m.d.comb += [one.precharge.eq(1) for one in banks]
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(closed):
                    m.d.comb += command.eq(REFRESH)
                    m.d.comb += [one.refresh.eq(1) for one in banks]
                    m.d.sync += due.eq(0)
                    m.next = "RUN"
                    with m.If(first != 0):
                        m.d.sync += first.eq(first - 1)
                        m.next = "REFRESH"
                        with m.If(first == 1):
                            m.next = "MODE"
            with m.State("MODE"):
                m.d.comb += address.eq(chip.cas << 4 | exact_log2(beats))
                with m.If(closed):
                    m.d.comb += command.eq(MODE)
                    # Longer than the mode register takes.
                    m.d.comb += [one.refresh.eq(1) for one in banks]
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(due):
                    m.next = "CLOSE"
                for n, (place, _, close, open_) in enumerate(needs):
                    with m.If(close & ~due) if n == 0 else m.Elif(close & ~due):
                        m.d.comb += [command.eq(PRECHARGE), bank.eq(place.bank),
                                     of_bank(place.bank, "precharge").eq(1)]
                    with m.Elif(open_ & ~due):
                        m.d.comb += [command.eq(ACTIVATE), bank.eq(place.bank),
                                     address.eq(place.row), of_bank(place.bank, "activate").eq(1)]
                with m.Elif(goes & ~due):
                    m.d.comb += [command.eq(Mux(head.write, WRITE, READ)), taken.eq(1),
                                 bank.eq(head.place.bank), address.eq(head.column)]
        with m.If(left == 0):
            m.d.sync += [due.eq(1), left.eq(period - 1)]

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
        until_activate.start(command == ACTIVATE, time["rrd"])
        return m

    def _join(self, m, front, words, answers):
        """The bus with the streams behind it."""
        bus = self.bus
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
