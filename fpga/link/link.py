"""The host link: bytes of a line in, accesses of the machine's memory and registers out."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.memory.axi import axi4
from hw.registers import axi_lite

from .bus_masters import PATIENCE, LiteMaster, MemoryMaster
from .cobs_decoder import CobsDecoder
from .cobs_encoder import CobsEncoder
from .executor import Executor
from .frame_receiver import FrameReceiver
from .frame_sender import FrameSender
from .words import Words


__all__ = ["Link"]


class Link(wiring.Component):
    """A host's requests and the replies to them, as docs/boards.md has them.

    ::

        i -> decoder -> receiver -> executor -> sender -> encoder -> o
                            |          |          |
                            +------- words -------+
                                    |     |
                                  memory  registers

    Frames that are damaged in any way do nothing. A bus that hangs holds up one request for
    ``patience`` cycles, and no other.

    Throughput
    ----------
    As fast as the line: a byte of payload takes up to 2 cycles, a word of memory some more. A
    reply is collected while the last 254 bytes of the one before are still sent.

    Parameters
    ----------
    config : :class:`hw.config.Config`
        With one channel.
    identity : :class:`fpga.link.protocol.Identity`
    patience : int
        Cycles after which a bus counts as silent.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Always ready.
    o : ``Out(stream.Signature(8))``
    memory : ``Out(axi4(config))``
        Reads and writes of single words, one at a time.
    registers : ``Out(axi_lite())``
    irq : ``In(1)``
    """

    def __init__(self, config, identity, *, patience=PATIENCE):
        if config.channels != 1:
            raise ValueError(f"a host link needs a machine with one memory channel; "
                             f"{config} has {config.channels}")
        self.config, self.identity, self.patience = config, identity, patience
        super().__init__({
            "i": In(stream.Signature(8)), "o": Out(stream.Signature(8)),
            "memory": Out(axi4(config)), "registers": Out(axi_lite()), "irq": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        identity = self.identity
        m.submodules.decoder = decoder = CobsDecoder()
        m.submodules.receiver = receiver = FrameReceiver(identity.block, identity.window)
        m.submodules.executor = executor = Executor(identity)
        m.submodules.words = words = Words(identity.block, self.config.data_bits)
        m.submodules.sender = sender = FrameSender(identity.block)
        m.submodules.encoder = encoder = CobsEncoder()
        m.submodules.memory = memory = MemoryMaster(self.config, self.patience)
        m.submodules.registers = registers = LiteMaster(self.patience)

        # Frames.
        m.d.comb += [decoder.i.payload.eq(self.i.payload), decoder.i.valid.eq(self.i.valid),
                     self.i.ready.eq(1)]
        connect(m, decoder.o, receiver.i)
        connect(m, receiver.o, executor.i)
        connect(m, executor.o, sender.i)
        connect(m, sender.o, encoder.i)
        connect(m, encoder.o, flipped(self.o))

        # Payloads.
        connect(m, executor.words, words.i)
        connect(m, words.memory, memory.words)
        connect(m, words.registers, registers.words)
        connect(m, memory.bus, flipped(self.memory))
        connect(m, registers.bus, flipped(self.registers))
        m.d.comb += [
            executor.status.eq(words.status), executor.done.eq(words.done),
            executor.another.eq(receiver.another), executor.irq.eq(self.irq),
            receiver.index.eq(words.source_index), words.source_byte.eq(receiver.byte),
            sender.write.eq(words.target_write | executor.write),
            sender.index.eq(Mux(executor.write, executor.index, words.target_index)),
            sender.byte.eq(Mux(executor.write, executor.byte, words.target_byte)),
        ]
        return m
