"""The system on a board: machine, host link and memory."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.memory.axi import axi4
from hw.register_map import PAGE
from hw.registers import axi_lite
from hw.top import Tokamac

from .link.bit_timer import bit_period
from .link.link import Link
from .link.protocol import Identity
from .link.uart_receiver import UartReceiver
from .link.uart_transmitter import UartTransmitter
from .memory.join import Join


__all__ = ["Soc", "System"]


class System(wiring.Component):
    """Serial line, host link and memory; who is behind the link is said by :meth:`inside`.

    One clock, one synchronous reset. Emit it with :func:`hw.verilog.convert`.

    Parameters
    ----------
    config : :class:`hw.config.Config`
        With one channel.
    memory : ``wiring.Component``
        With ``bus``, ``In(axi4(config))``, that answers with the IDs of requests, and the attribute
        ``bytes``, its size. Its other members become members here.
    clock_hz, baud : int
        Of the clock and of the line.
    hash : int
        What the identity says of the configuration.
    block, window : int
        Bytes of a frame's payload, and requests that may be unanswered.

    Members
    -------
    rx : ``In(1)``
    tx : ``Out(1)``
    running, fault : ``Out(1)``
        For lamps.
    """

    def __init__(self, config, memory, *, clock_hz, baud, hash, block=1024, window=2):
        if block < 256:
            raise ValueError(f"block must be at least 256 bytes, so that a frame holds all "
                             f"registers, not {block}")
        self.config, self.memory = config, memory
        self.identity = Identity(
            hash=hash, block=block, window=window, word=config.word_bytes,
            pages=memory.bytes // PAGE, clock_hz=clock_hz, baud=baud)
        self.period = bit_period(clock_hz, baud)
        self.link = Link(config, self.identity)
        pins = {name: member for name, member in memory.signature.members.items() if name != "bus"}
        super().__init__({"rx": In(1), "tx": Out(1), "running": Out(1), "fault": Out(1), **pins})

    def inside(self, m, link, memory):
        """Add what answers at the link's buses, and what uses the memory."""
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        m.submodules.link = link = self.link
        m.submodules.receiver = receiver = UartReceiver(self.period)
        m.submodules.transmitter = transmitter = UartTransmitter(self.period)
        self.inside(m, link, self.memory)

        # The line.
        connect(m, link.o, transmitter.i)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx),
                     link.i.payload.eq(receiver.o.payload), link.i.valid.eq(receiver.o.valid)]

        # Pins.
        for name, member in self.memory.signature.members.items():
            if name != "bus":
                inner, outer = getattr(self.memory, name), getattr(self, name)
                if member.is_signature:
                    connect(m, flipped(outer), inner)
                else:
                    m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m


class Soc(System):
    """The machine behind the link, with the memory that both share.

    ::

        rx, tx -- UART -- link --- registers --- machine
                           |                       |
                           +-------- join ---------+
                                       |
                                    memory -- its pins

    Parameters and members are those of :class:`System`, without ``hash``.
    """

    def __init__(self, config, memory, **options):
        super().__init__(config, memory, hash=config.hash, **options)

    def inside(self, m, link, memory):
        config = self.config
        m.submodules.machine = machine = Tokamac(config)
        m.submodules.join = join = Join(config)
        # The machine's buses have flat names.
        join_flat(m, axi4(config), machine, "m_axi0", join.masters[0], outward=True)
        join_flat(m, axi_lite(), machine, "s_axil", link.registers, outward=False)
        connect(m, link.memory, join.masters[1])
        connect(m, join.slave, memory.bus)
        m.d.comb += [link.irq.eq(machine.irq), self.running.eq(machine.running),
                     self.fault.eq(machine.fault)]


def join_flat(m, signature, component, prefix, bus, *, outward):
    """Join flat ports of a component with a bus; ``outward``: the component is the master."""
    for name, member in signature.members.items():
        flat, wire = getattr(component, f"{prefix}_{name}"), getattr(bus, name)
        m.d.comb += wire.eq(flat) if (member.flow is Out) == outward else flat.eq(wire)
