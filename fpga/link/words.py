"""Moves the payloads of requests and replies to and from the buses, word by word."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from .access import access
from .protocol import Status


__all__ = ["Words", "transfer"]


def transfer(block):
    """A payload of ``count`` bytes between a frame and a bus, from ``address`` on.

    ``registers``: words of registers, not of memory; ``fixed``: all words at one address.
    """
    return data.StructLayout({"write": 1, "registers": 1, "fixed": 1, "address": 32,
                              "count": range(block + 1)})


class Words(wiring.Component):
    """Carries out transfers. The first word that a bus refuses or does not answer ends one.

    Latency
    -------
    A word takes as long as its bus, 3 cycles, and 2 cycles a byte to write or 1 to read.

    Parameters
    ----------
    block : int
        Bytes of the longest payload.
    width : int
        Bits of a word of memory; registers have 32.

    Members
    -------
    i : ``In(stream.Signature(transfer(block)))``
        Taken at the end of the transfer.
    status : ``Out(Status)``
        What became of the transfer, when ``i`` is taken.
    done : ``Out(range(block + 1))``
        Bytes transferred.
    source_index, source_byte : ``Out(range(block))``, ``In(8)``
        Payload of the request; a byte comes a cycle after its index.
    target_index, target_byte, target_write : ``Out``
        Payload of the reply.
    memory : ``Out(access(width))``
    registers : ``Out(access(32))``
    """

    def __init__(self, block, width):
        self.block, self.width = block, width
        super().__init__({
            "i": In(stream.Signature(transfer(block))), "status": Out(Status),
            "done": Out(range(block + 1)),
            "source_index": Out(range(block)), "source_byte": In(8),
            "target_index": Out(range(block)), "target_byte": Out(8), "target_write": Out(1),
            "memory": Out(access(width)), "registers": Out(access(32)),
        })

    def elaborate(self, platform):
        m = Module()
        job, memory, registers = self.i.p, self.memory, self.registers
        most = max(self.width, 32) // 8
        word = Signal(8 * most)
        place, fetched = Signal(range(most)), Signal()
        size = Signal(bits_for(most))
        answered, status, last_byte, last_word = Signal(), Signal(Status), Signal(), Signal()
        asks, stores = Signal(), Signal()

        # Control.
        m.d.comb += [
            size.eq(Mux(job.registers, 4, self.width // 8)),
            last_byte.eq(place == size - 1), last_word.eq(self.done + 1 == job.count),
            answered.eq(Mux(job.registers, registers.answer.valid, memory.answer.valid)),
            status.eq(Mux(job.registers, registers.answer.p.status, memory.answer.p.status)),
        ]
        with m.FSM():
            with m.State("BEGIN"):
                m.d.sync += [self.done.eq(0), place.eq(0), fetched.eq(0),
                             self.status.eq(Status.OK)]
                with m.If(self.i.valid):
                    m.next = "END"
                    with m.If(job.count != 0):
                        m.next = "ASK"
                        with m.If(job.write):
                            m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += fetched.eq(~fetched)
                with m.If(fetched):
                    m.d.sync += place.eq(place + 1)
                    with m.If(last_byte):
                        m.d.sync += place.eq(0)
                        m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += asks.eq(1)
                with m.If(answered):
                    m.d.sync += self.status.eq(status)
                    with m.If(status != Status.OK):
                        m.next = "END"
                    with m.Elif(~job.write):
                        m.next = "STORE"
                    with m.Else():
                        m.d.sync += self.done.eq(self.done + size)
                        m.next = "FETCH"
                        with m.If(self.done + size == job.count):
                            m.next = "END"
            with m.State("STORE"):
                m.d.comb += stores.eq(1)
                m.d.sync += [place.eq(place + 1), self.done.eq(self.done + 1)]
                with m.If(last_byte):
                    m.d.sync += place.eq(0)
                    m.next = "ASK"
                    with m.If(last_word):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += self.i.ready.eq(1)
                m.next = "BEGIN"

        # Data.
        address = Signal(32)
        with m.If(fetched):
            m.d.sync += word.word_select(place, 8).eq(self.source_byte)
        with m.If(answered & ~job.write):
            m.d.sync += word.eq(Mux(job.registers, registers.answer.p.data,
                                    memory.answer.p.data))
        m.d.comb += [
            address.eq(job.address + Mux(job.fixed, 0, self.done)),
            self.source_index.eq(self.done + place),
            self.target_index.eq(self.done), self.target_write.eq(stores),
            self.target_byte.eq(word.word_select(place, 8)),
            memory.ask.valid.eq(asks & ~job.registers),
            registers.ask.valid.eq(asks & job.registers),
        ]
        for bus in (memory, registers):
            m.d.comb += [bus.ask.p.write.eq(job.write), bus.ask.p.address.eq(address),
                         bus.ask.p.data.eq(word)]
        return m
