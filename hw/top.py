"""The machine as it is dropped into a design: AXI4 masters, AXI4-Lite registers, an interrupt."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from . import register_map as rm
from .core import Core
from .memory.axi import axi4
from .memory.port import MemoryPort
from .registers import Registers, axi_lite
from .run_control import RunControl
from .verilog import shared


__all__ = ["Tokamac"]


def flat(signature, prefix, *, flip=False):
    """Members of a bus as ports with the field's usual names, ``prefix_name``."""
    return {f"{prefix}_{name}": member.flip() if flip else member
            for name, member in signature.members.items()}


class Tokamac(wiring.Component):
    """The machine: one clock, one synchronous reset.

    A run starts when the host writes ``control``. It ends when the program stops, when something
    goes wrong, or when the host aborts it. The memory port is then halted, so that nothing more is
    asked from memory, and what is in flight comes to its end; ``status`` says that the run is over
    when the bus is quiet. The core is held in reset while no program runs.

    A bus on which nothing moves for ``watchdog`` cycles of the halt hangs: the run ends all the
    same, and ``status`` says so until what is in flight has come to its end. Until then nothing
    can be started. What is offered on the bus stays, as AXI wants it, and what comes is taken.

    With ``config.ecc`` memories are cleared behind a reset; for ``config.clear_cycles`` cycles
    writes of the host wait.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    m_axi0_*, m_axi1_*, ... : AXI4 masters, one a channel
    s_axil_* : AXI4-Lite slave
        Registers; see :mod:`hw.register_map`.
    irq : ``Out(1)``
        A run has ended, and none has been started since.
    running, fault : ``Out(1)``
        For lamps: a run is under way; the last one ended with a fault.
    """

    def __init__(self, config):
        self.config = config
        members = {}
        for n in range(config.channels):
            members |= flat(axi4(config), f"m_axi{n}")
        super().__init__({**members, **flat(axi_lite(), "s_axil", flip=True), "irq": Out(1),
                          "running": Out(1), "fault": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.control = control = RunControl(config)
        m.submodules.core = core = shared(Core(config), reset=control.core_reset)
        m.submodules.port = port = MemoryPort(config)
        m.submodules.registers = registers = Registers(config)

        # Buses.
        for n in range(config.channels):
            self._wire(m, axi4(config), f"m_axi{n}", port.axi[n])
        self._wire(m, axi_lite(), "s_axil", registers.bus)
        for name in ("reads", "writes"):
            connect(m, getattr(core, name), getattr(port, name))
        connect(m, port.data, core.data)
        connect(m, registers.program, core.program)
        connect(m, core.emitted, registers.emitted)
        settings = registers.settings
        m.d.comb += [
            core.written.eq(port.written),
            port.read_base.eq(settings.read_base), port.read_limit.eq(settings.read_limit),
            port.write_base.eq(settings.write_base), port.write_limit.eq(settings.write_limit),
            core.seed.eq(Cat(settings.seed_low, settings.seed_high)),
        ]

        # A run: the core works; then the port comes to rest.
        events, values = core.events, registers.values
        m.d.comb += [
            control.start.eq(registers.start), control.abort.eq(registers.abort),
            control.watchdog.eq(settings.watchdog),
            control.progress.eq(Cat(events.busy, events.w, events.d, events.gather, events.written,
                                    events.retired, events.cache.hit).any()),
            control.stopped.eq(core.done), control.pc.eq(core.pc),
            control.wrong.range.eq(core.range_fault), control.wrong.choice.eq(core.choice_fault),
            control.wrong.table.eq(core.table_fault), control.wrong.counter.eq(core.overflow),
            control.wrong.illegal.eq(core.illegal),
            control.fault.eq(port.fault), control.quiet.eq(port.quiet),
            control.moved.eq(port.moved), port.halt.eq(control.halt),
            Cat(self.running, self.irq, self.fault).eq(control.status),
            values.status.eq(control.status), values.cause.eq(control.cause),
            values.pc.eq(control.last_pc),
            Cat(values.fault_low, values.fault_high).eq(control.address),
        ]
        if config.ecc:
            self._protect(m, registers, core, control)

        self._count(m, registers, core, control.counting)
        return m

    def _wire(self, m, signature, prefix, bus):
        """Join the flat ports of a bus with its members, each in the port's direction."""
        for name in signature.members:
            outer, inner = getattr(self, f"{prefix}_{name}"), getattr(bus, name)
            inward = self.signature.members[f"{prefix}_{name}"].flow is In
            m.d.comb += inner.eq(outer) if inward else outer.eq(inner)

    def _protect(self, m, registers, core, control):
        """Clear memories behind a reset, so that all words have valid check bits, and see to what
        cannot be corrected."""
        sweep, last = Signal.like(core.clear.address), self.config.clear_cycles - 1
        swept = Signal()
        m.d.comb += [core.clear.en.eq(~swept), core.clear.address.eq(sweep),
                     registers.hold.eq(~swept)]
        m.d.sync += [sweep.eq(sweep + 1), swept.eq(swept | (sweep == last))]

        m.d.comb += control.broken.eq(core.errors.fault | registers.wrong)
        with m.If(core.errors.fault):
            m.d.comb += control.place.eq(core.errors.fault_place)
        with m.Elif(registers.wrong):
            m.d.comb += control.place.eq(rm.place(rm.Place.SETTING, registers.wrong_offset))
        corrected = Signal(32)
        m.d.comb += registers.values.corrected_place.eq(corrected)
        with m.If(registers.start):
            m.d.sync += corrected.eq(0)
        with m.Elif(control.counting & core.errors.corrected.any()):
            m.d.sync += corrected.eq(core.errors.corrected_place)

    def _count(self, m, registers, core, counting):
        """Event counters. Each cycle belongs to exactly one of the four kinds."""
        events = core.events
        wait = ~events.busy & ~events.memory
        kind = {
            "cycles": 1, "busy": events.busy, "memory": ~events.busy & events.memory,
            "dependency": wait & (events.dependency | events.active),
            "other": wait & ~(events.dependency | events.active),
            "w_words": events.w, "d_words": events.d, "g_words": events.gather,
            "written": events.written, "instructions": events.retired,
            "nan_groups": events.nan,
        }
        if self.config.cache:
            kind |= {"hits": events.cache.hit, "misses": events.cache.miss,
                     "fills": events.cache.fill, "stalls": events.cache.stall}
        if self.config.ecc:
            kind |= {"corrected": core.errors.corrected}
        for name, event in kind.items():
            count = Signal(64, name=f"count_{name}")
            with m.If(registers.start):
                m.d.sync += count.eq(0)
            with m.Elif(counting):
                m.d.sync += count.eq(count + event)
            m.d.comb += [getattr(registers.values, f"{name}_low").eq(count[:32]),
                         getattr(registers.values, f"{name}_high").eq(count[32:])]
            if name == "cycles":
                m.d.comb += core.cycle.eq(count)
