"""How a run begins and ends."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from . import register_map as rm
from .memory.port import port_fault


__all__ = ["RunControl"]


class RunControl(wiring.Component):
    """Lets the core work, and the memory port come to rest behind it.

    ::

        rest -- start --> running -- stopped, or something wrong --> halting -- quiet --> rest

    The core is held in reset but while it runs. In the halt the port asks for nothing more, and
    what is in flight comes to its end: then the run is done. If nothing moves on the bus for
    ``watchdog`` cycles it is done all the same, and hangs until the port is quiet.

    ``verif/formal/rest.py`` proves that every halt ends.

    Latency
    -------
    The core is in reset, and the port halted, in the cycle behind a fault. A halt ends when the
    port is quiet, and at the latest ``watchdog`` cycles after the last handshake.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    start, abort : ``In(1)``
        Pulses. A start while the bus hangs is not allowed.
    watchdog : ``In(32)``
        Cycles without progress, or without a move on the bus in the halt; 0: for ever.
    progress, stopped : ``In(1)``
        Of the core: something was done; the program has ended.
    pc : ``In(32)``
    wrong : ``In(1)`` each
        What is wrong in the core, by the name of a cause.
    fault : ``In(port_fault(config))``
    quiet, moved : ``In(1)``
        Of the port.
    broken : ``In(1)``
        Bits are wrong, at ``place``.
    place : ``In(64)``
    core_reset, halt : ``Out(1)``
        Of the core and of the port.
    counting : ``Out(1)``
        The core works.
    status : ``Out(4)``
        ``running``, ``done``, ``fault`` and ``hung`` of the register.
    cause : ``Out(Cause)``
    last_pc : ``Out(32)``
    address : ``Out(64)``
        Of the last run.
    """

    #: The later one counts.
    WRONG = ("RANGE", "CHOICE", "TABLE", "COUNTER", "ILLEGAL")

    def __init__(self, config):
        super().__init__({
            "start": In(1), "abort": In(1), "watchdog": In(32),
            "progress": In(1), "stopped": In(1), "pc": In(32),
            "wrong": In(Signature({name.lower(): Out(1) for name in self.WRONG})),
            "fault": In(port_fault(config)), "quiet": In(1), "moved": In(1),
            "broken": In(1), "place": In(64),
            "core_reset": Out(1, init=1), "halt": Out(1), "counting": Out(1),
            "status": Out(4), "cause": Out(rm.Cause), "last_pc": Out(32), "address": Out(64),
        })

    def elaborate(self, platform):
        m = Module()
        running, halting, done, fault = Signal(), Signal(), Signal(), Signal()
        idle_for, expired = Signal(32), Signal()
        m.d.comb += [
            expired.eq(self.watchdog.any() & (idle_for >= self.watchdog)),
            self.halt.eq(~running | halting),
            self.counting.eq(running & ~halting & ~self.core_reset),
            self.status.eq(Cat(running, done, fault, done & ~self.quiet)),
        ]

        # What ends a run; the last that holds counts.
        ending, reason, place = Signal(), Signal(rm.Cause), Signal(64)
        for condition, cause, where in (
                (self.abort, rm.Cause.ABORTED, 0),
                (expired, rm.Cause.WATCHDOG, 0),
                *((getattr(self.wrong, name.lower()), rm.Cause[name], 0) for name in self.WRONG),
                (self.fault.valid, self.fault.cause, self.fault.address),
                (self.broken, rm.Cause.ECC, self.place)):
            with m.If(condition):
                m.d.comb += [ending.eq(1), reason.eq(cause), place.eq(where)]

        m.d.sync += self.core_reset.eq(self.halt)
        with m.If(self.start & ~running):
            m.d.sync += [running.eq(1), done.eq(0), fault.eq(0), idle_for.eq(0),
                         self.cause.eq(0), self.address.eq(0)]
        with m.Elif(running & ~halting):
            m.d.sync += [self.last_pc.eq(self.pc),
                         idle_for.eq(Mux(self.progress, 0, idle_for + 1))]
            with m.If(~self.core_reset & (ending | self.stopped)):
                m.d.sync += [halting.eq(1), fault.eq(ending), idle_for.eq(0),
                             self.cause.eq(reason), self.address.eq(place)]
        with m.Elif(halting):
            m.d.sync += idle_for.eq(Mux(self.moved, 0, idle_for + 1))
            with m.If(self.quiet | expired):
                m.d.sync += [running.eq(0), halting.eq(0), done.eq(1)]
                with m.If(~self.quiet & ~fault):
                    m.d.sync += [fault.eq(1), self.cause.eq(rm.Cause.HUNG)]
        return m
