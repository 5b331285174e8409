"""What the order of keys and values promises to the attention engine."""

from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.memory.order import Order
from hw.memory.plan import Kind


__all__ = ["OrderSpec"]


class OrderSpec(wiring.Component):
    """Each block is read once, keys as they come and values in the order of keys.

    One block, chosen freely, is followed: from its entry to its keys, and from these to its
    values. No walk overtakes two, and what is not chained waits.

    Parameters
    ----------
    ahead : int
        As of :class:`hw.memory.order.Order`.
    """

    def __init__(self, ahead):
        self.ahead = ahead
        self.order = Order(ahead, 1)
        super().__init__({"valid": In(1), "kind": In(Kind), "first": In(1), "chain": In(1),
                          "data": In(1), "ok": In(1), "ready": In(1), "choose": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.order = order = self.order
        i, o = order.i, order.o
        m.d.comb += [
            Assume(~ResetSignal()),
            i.valid.eq(self.valid), i.p.kind.eq(self.kind), i.p.first.eq(self.first),
            i.p.chain.eq(self.chain), i.p.data.eq(self.data), order.ok.eq(self.ok),
            o.ready.eq(self.ready),
        ]

        # What goes in and comes out.
        enter, keys, values = Signal(), Signal(), Signal()
        m.d.comb += [
            enter.eq(i.valid & i.ready),
            keys.eq(o.valid & o.ready & ~o.p.values),
            values.eq(o.valid & o.ready & o.p.values),
            Assert(order.take == enter), Assert(~enter | order.ok),
        ]
        # A walk begins with its first block, and a stream does not.
        begun = Signal()
        m.d.comb += Assume(~i.valid | i.p.first | (begun & (i.p.kind == Kind.BLOCK)))
        with m.If(enter):
            m.d.sync += begun.eq(i.p.kind == Kind.BLOCK)

        # Keys come a cycle after the block, and nothing comes that did not go in.
        entered, kind, first, data = Signal(), Signal(Kind), Signal(), Signal()
        m.d.comb += Assert(entered == (o.valid & ~o.p.values))
        with m.If(keys):
            m.d.sync += entered.eq(0)
            m.d.comb += [Assert(o.p.kind == kind), Assert(o.p.first == first),
                         Assert(o.p.data == data)]
        with m.If(enter):
            m.d.sync += [entered.eq(1), kind.eq(i.p.kind), first.eq(i.p.first), data.eq(i.p.data)]

        # Keys without their values.
        pending = Signal(range(self.ahead + 3))
        block = Signal()
        m.d.comb += [
            block.eq(o.p.kind == Kind.BLOCK),
            Assert(pending <= self.ahead + 1), Assert(~values | (pending != 0)),
            Assert(~keys | block | (pending == 0)), Assert(~values | block),
        ]
        m.d.sync += pending.eq(pending + (keys & block) - values)

        # The chosen block, those ahead of it, and the walks that begin behind it.
        chosen, before, begin, mark = Signal(), Signal.like(pending), Signal(), Signal()
        walks = Signal(2)
        with m.If(keys & block & chosen & o.p.first):
            m.d.comb += Assert(walks == 0)
            m.d.sync += walks.eq(walks + 1)
        with m.If(values & chosen):
            m.d.sync += before.eq(before - 1)
            with m.If(before == 0):
                m.d.comb += [Assert(o.p.data == mark), Assert(o.p.first == begin)]
                m.d.sync += chosen.eq(0)
        with m.If(keys & block & ~chosen & self.choose):
            m.d.sync += [chosen.eq(1), walks.eq(0), before.eq(pending), begin.eq(o.p.first),
                         mark.eq(o.p.data)]

        # What is not chained enters when no values are left but those that wait at the output.
        left = Signal.like(pending)
        m.d.comb += left.eq(pending + (entered & block) - (o.valid & o.p.values))
        with m.If(enter & (i.p.first & ~i.p.chain | (i.p.kind != Kind.BLOCK))):
            m.d.comb += Assert(left == 0)

        # A part waits unchanged.
        stalled, held = Signal(), Signal(len(o.payload.as_value()))
        m.d.sync += [stalled.eq(o.valid & ~o.ready), held.eq(o.payload)]
        with m.If(stalled):
            m.d.comb += Assert(o.valid & (o.payload.as_value() == held))

        # Something is read whenever there is something to read.
        with m.If(~o.valid):
            m.d.comb += Assert(pending == 0)
        return m
