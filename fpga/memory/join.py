"""Joins the machine and the host link at one memory."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.memory.axi import axi4
from hw.memory.queue import Queue


__all__ = ["Join"]

#: Wires of the address of a burst, behind ``ar`` or ``aw``.
ADDRESS = ("addr", "len", "size", "burst", "lock", "cache", "prot", "qos")


class Join(wiring.Component):
    """Two AXI4 masters at one slave, which gets the number of the master as ID.

    Master 0 goes first; master 1 gets a turn when nothing of master 0 waits, and after each
    burst of it. Data of writes follow the order of their addresses, and never go ahead.

    Latency
    -------
    One cycle for addresses and written data, none for what comes back.

    Throughput
    ----------
    A burst, and a word read and a word written, a cycle. ``ready`` of addresses and of written
    data does not depend on the slave's in the same cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    writes : int
        Writes whose data may be missing.

    Members
    -------
    masters : ``In(axi4(config)).array(2)``
        With ID 0.
    slave : ``Out(axi4(config))``
    """

    def __init__(self, config, writes=4):
        self.config, self.writes = config, writes
        super().__init__({"masters": In(axi4(config)).array(2), "slave": Out(axi4(config))})

    def elaborate(self, platform):
        m = Module()
        slave, masters = self.slave, self.masters

        # Addresses: through a queue, so that what the slave is offered stays.
        m.submodules.order = order = Queue(1, self.writes)
        for kind in ("ar", "aw"):
            layout = data.StructLayout({"id": 1, **{
                name: getattr(slave, kind + name).shape() for name in ADDRESS}})
            m.submodules[kind] = queue = Queue(layout, 2)
            asks = [getattr(master, f"{kind}valid") for master in masters]
            chosen, last, room, taken = Signal(), Signal(), Signal(), Signal()
            m.d.comb += [
                chosen.eq(asks[1] & ~(asks[0] & last)),
                room.eq(queue.i.ready & (order.i.ready if kind == "aw" else 1)),
                taken.eq((asks[0] | asks[1]) & room),
                queue.i.valid.eq(taken), queue.i.p.id.eq(chosen),
                getattr(slave, f"{kind}valid").eq(queue.o.valid),
                queue.o.ready.eq(getattr(slave, f"{kind}ready")),
                getattr(slave, f"{kind}id").eq(queue.o.p.id),
            ]
            with m.If(taken):
                m.d.sync += last.eq(chosen)
            for n, master in enumerate(masters):
                m.d.comb += getattr(master, f"{kind}ready").eq(room & (chosen == n))
            for name in ADDRESS:
                ports = [getattr(master, kind + name) for master in masters]
                m.d.comb += [queue.i.p[name].eq(Mux(chosen, ports[1], ports[0])),
                             getattr(slave, kind + name).eq(queue.o.p[name])]
            if kind == "aw":
                m.d.comb += [order.i.valid.eq(taken), order.i.payload.eq(chosen)]

        # Written data: of the master whose address is the oldest without.
        words = Queue(data.StructLayout({"data": len(slave.wdata), "strb": len(slave.wstrb),
                                         "last": 1}), 2)
        m.submodules.words = words
        writer, sends = order.o.payload, Signal()
        m.d.comb += [
            sends.eq(order.o.valid & Mux(writer, masters[1].wvalid, masters[0].wvalid)),
            words.i.valid.eq(sends), order.o.ready.eq(sends & words.i.ready & words.i.p.last),
            slave.wvalid.eq(words.o.valid), words.o.ready.eq(slave.wready),
        ]
        for name in ("data", "strb", "last"):
            ports = [getattr(master, f"w{name}") for master in masters]
            m.d.comb += [words.i.p[name].eq(Mux(writer, ports[1], ports[0])),
                         getattr(slave, f"w{name}").eq(words.o.p[name])]
        for n, master in enumerate(masters):
            m.d.comb += master.wready.eq(order.o.valid & words.i.ready & (writer == n))

        # What comes back: by its ID.
        for kind, names in (("r", ("data", "resp", "last")), ("b", ("resp",))):
            number = getattr(slave, f"{kind}id")
            for n, master in enumerate(masters):
                m.d.comb += getattr(master, f"{kind}valid").eq(
                    getattr(slave, f"{kind}valid") & (number == n))
                m.d.comb += [getattr(master, kind + name).eq(getattr(slave, kind + name))
                             for name in names]
            m.d.comb += getattr(slave, f"{kind}ready").eq(
                Mux(number, getattr(masters[1], f"{kind}ready"),
                    getattr(masters[0], f"{kind}ready")))
        return m
