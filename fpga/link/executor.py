"""Carries out requests in their order, each once, and replies."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .frame_receiver import request_layout
from .frame_sender import REPLY_HEAD
from .protocol import IRQ, PAYLOADS, REGISTER_KINDS, REPLY, Identity, Kind, Status
from .words import transfer


__all__ = ["Executor"]

#: Bytes of registers on the AXI4-Lite bus.
REGISTER_BYTES = 256


class Executor(wiring.Component):
    """Requests to replies.

    A request whose number is the next one is carried out, whatever becomes of it. The last one,
    repeated, gets its reply again and does nothing: so the host may repeat what was not
    answered. Any other number gets ``OUT_OF_ORDER`` and does nothing. ``IDENTIFY`` may have
    any number, and the next request has the one behind.

    Latency
    -------
    A request takes 4 cycles, what its words take, and the time of its reply. ``WAIT`` ends with
    the interrupt, after as many cycles as it says, and when another request comes.

    Parameters
    ----------
    identity : :class:`fpga.link.protocol.Identity`

    Members
    -------
    i : ``In(stream.Signature(request_layout(block)))``
        Taken with its reply, before the reply's last bytes are on the line.
    o : ``Out(stream.Signature(REPLY_HEAD))``
    words, status, done : ``Out(stream.Signature(transfer(block)))``, ``In``
        See :class:`.words.Words`.
    another : ``In(1)``
        A request waits behind that of ``i``.
    irq : ``In(1)``
    index, byte, write : ``Out``
        Payload of the reply to ``IDENTIFY``.
    """

    def __init__(self, identity):
        self.identity = identity
        block = identity.block
        super().__init__({
            "i": In(stream.Signature(request_layout(block))),
            "o": Out(stream.Signature(REPLY_HEAD)),
            "words": Out(stream.Signature(transfer(block))), "status": In(Status),
            "done": In(range(block + 1)), "another": In(1), "irq": In(1),
            "index": Out(range(Identity.BYTES)), "byte": Out(8), "write": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        head, kind = self.i.p.head, Signal(Kind)
        reply = Signal(REPLY_HEAD)          # of the last request that was carried out
        known, opened, refuse = Signal(), Signal(), Signal()
        following = Signal(8)
        left = Signal(32)
        place = Signal(range(Identity.BYTES + 1))
        m.d.comb += kind.eq(head.kind)
        m.d.comb += known.eq(self._makes_sense(m))

        # Control.
        with m.FSM():
            with m.State("REST"):
                m.d.sync += [left.eq(head.address), place.eq(0), refuse.eq(0)]
                with m.If(self.i.valid):
                    with m.If(known & (kind == Kind.IDENTIFY)):
                        m.next = "IDENTIFY"
                    with m.Elif(opened & (head.sequence == following)):
                        m.next = "WRONG"
                        with m.If(known):
                            m.next = "WORDS"
                            with m.If(kind == Kind.WAIT):
                                m.next = "WAIT"
                    with m.Else():
                        again = opened & (head.sequence == reply.sequence)
                        m.d.sync += refuse.eq(~again)
                        m.next = "REPLY"
            for state, status, count, ends in (
                    ("IDENTIFY", Status.OK, Identity.BYTES, place == Identity.BYTES - 1),
                    ("WRONG", Status.WRONG, 0, 1),
                    ("WAIT", Status.OK, 0, self.irq | (left == 0) | self.another),
                    ("WORDS", self.status, Mux(self._carries(kind), 0, self.done),
                     self.words.ready)):
                with m.State(state):
                    m.d.sync += [place.eq(place + 1), left.eq(left - 1)]
                    with m.If(ends):
                        m.d.sync += [
                            following.eq(head.sequence + 1), opened.eq(1),
                            reply.kind.eq(head.kind | REPLY), reply.sequence.eq(head.sequence),
                            reply.count.eq(count), reply.status.eq(status),
                            reply.following.eq(head.sequence + 1),
                            reply.flags.eq(Mux(self.irq, IRQ, 0)),
                        ]
                        m.next = "REPLY"
                    if state == "WORDS":
                        m.d.comb += self.words.valid.eq(1)
                    if state == "IDENTIFY":
                        m.d.comb += self.write.eq(1)
            with m.State("REPLY"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.comb += self.i.ready.eq(1)
                    m.next = "REST"

        # Data.
        m.d.comb += [
            self.words.p.write.eq(self._carries(kind)),
            self.words.p.registers.eq(among(kind, REGISTER_KINDS)),
            self.words.p.fixed.eq(kind != Kind.READ_REGISTERS),
            self.words.p.address.eq(head.address), self.words.p.count.eq(head.count),
            self.index.eq(place), self.o.payload.eq(reply),
            self.byte.eq(Const(int.from_bytes(self.identity.pack(), "little"),
                               8 * Identity.BYTES).word_select(place, 8)),
        ]
        with m.If(~self.words.p.registers):
            m.d.comb += self.words.p.fixed.eq(0)
        with m.If(refuse):
            m.d.comb += [
                self.o.p.kind.eq(head.kind | REPLY), self.o.p.sequence.eq(head.sequence),
                self.o.p.count.eq(0), self.o.p.status.eq(Status.OUT_OF_ORDER),
                self.o.p.following.eq(following), self.o.p.flags.eq(Mux(self.irq, IRQ, 0)),
            ]
        return m

    @staticmethod
    def _carries(kind):
        return among(kind, PAYLOADS)

    def _makes_sense(self, m):
        """Whether kind, count, payload and address of a request agree."""
        head, size = self.i.p.head, self.i.p.size
        kind, registers = head.kind, Signal()
        m.d.comb += registers.eq(among(kind, REGISTER_KINDS))
        word = Mux(registers, 4, self.identity.word) - 1
        words = registers | among(kind, (Kind.READ_MEMORY, Kind.WRITE_MEMORY))
        return (
            (kind < len(Kind))
            & (size == Mux(among(kind, PAYLOADS), head.count, 0))
            & (words | (head.count == 0)) & (head.count <= self.identity.block)
            & (~words | (((head.count | head.address) & word) == 0))
            & (~registers | (head.address < REGISTER_BYTES)))


def among(kind, kinds):
    """Whether a kind is one of some."""
    result = C(0, 1)
    for one in kinds:
        result = result | (kind == one)
    return result
