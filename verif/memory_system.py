"""Parts of the memory system as benches run them: with counters, and down to AXI."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.memory.arbiter import ReadArbiter
from hw.memory.axi import axi4
from hw.memory.cache import Cache, cache_events
from hw.memory.dma import Dma, dma_events
from hw.memory.mover import Mover
from hw.memory.port import MemoryPort
from hw.memory.staging import staging_write
from hw.memory.walker import Walker
from hw.semaphores import Semaphores
from hw.signatures import (
    Command,
    Raise,
    cached_data,
    choice,
    kv_part,
    range_command,
    read_data,
    read_request,
    row_read,
    row_write,
    write_data,
)


__all__ = ["WalkerSystem", "MoverSystem", "DmaSystem", "CacheSystem"]


def port_members(config):
    return {"axi": Out(axi4(config)).array(config.channels),
            "limit": In(32), "halt": In(1), "quiet": Out(1), "fault": Out(1)}


def mover_members(config):
    return {
        "mover": In(stream.Signature(Command)),
        "write": Out(stream.Signature(row_write(config))), "read": Out(row_read(config)),
        "staging": In(staging_write(config)), "loaded": Out(stream.Signature(32)),
        # To give permissions, and to see what is raised.
        "add_id": In(4), "add_count": In(10), "add_en": In(1), "overflow": Out(1),
        "raise0": Out(Raise), "raise1": Out(Raise), "busy": Out(1),
    }


class WalkerSystem(wiring.Component):
    """Walker with its counters."""

    def __init__(self, config):
        self.walker = Walker(config)
        members = {name: member for name, member in self.walker.signature.members.items()
                   if name != "take0"}
        super().__init__({**members, "add_id": In(4), "add_count": In(10), "add_en": In(1),
                          "overflow": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.walker = walker = self.walker
        m.submodules.semaphores = semaphores = Semaphores(1, 1)
        for name, member in self.walker.signature.members.items():
            if name == "take0":
                connect(m, walker.take0, semaphores.take[0])
            elif member.is_signature and member.flow == In:
                connect(m, flipped(getattr(self, name)), getattr(walker, name))
            elif member.is_signature:
                connect(m, getattr(walker, name), flipped(getattr(self, name)))
            elif member.flow == In:
                m.d.comb += getattr(walker, name).eq(getattr(self, name))
            else:
                m.d.comb += getattr(self, name).eq(getattr(walker, name))
        m.d.comb += [
            semaphores.add_id.eq(self.add_id), semaphores.add_count.eq(self.add_count),
            semaphores.add_en.eq(self.add_en), self.overflow.eq(semaphores.overflow),
        ]
        return m


class System(wiring.Component):
    """Memory port and counters, and what both systems share."""

    def join(self, m, unit, takes):
        """Connect ``unit`` (mover or DMA), the port and the counters to the outside."""
        m.submodules.unit = unit
        m.submodules.port = port = MemoryPort(self.config)
        m.submodules.semaphores = semaphores = Semaphores(len(takes), 2)
        for take, side in zip(takes, semaphores.take):
            connect(m, take, side)
        for name, side in (("raise0", semaphores.raise_[0]), ("raise1", semaphores.raise_[1])):
            m.d.comb += [side.id.eq(getattr(unit, name).id), side.en.eq(getattr(unit, name).en),
                         getattr(self, name).id.eq(getattr(unit, name).id),
                         getattr(self, name).en.eq(getattr(unit, name).en)]
        for name in ("write", "read", "loaded"):
            connect(m, getattr(unit, name), flipped(getattr(self, name)))
        for outer, inner in zip(self.axi, port.axi):
            connect(m, inner, flipped(outer))
        m.d.comb += [
            unit.staging.eq(self.staging),
            port.read_limit.eq(self.limit), port.write_limit.eq(self.limit),
            port.halt.eq(self.halt), self.quiet.eq(port.quiet), self.fault.eq(port.fault.valid),
            semaphores.add_id.eq(self.add_id), semaphores.add_count.eq(self.add_count),
            semaphores.add_en.eq(self.add_en), self.overflow.eq(semaphores.overflow),
        ]
        return port


class MoverSystem(System):
    """Mover on a memory port."""

    def __init__(self, config):
        self.config = config
        super().__init__({**port_members(config), **mover_members(config),
                          "choices": Out(stream.Signature(choice)),
                          "table": In(32), "entries": In(20),
                          "table_fault": Out(1), "choice_fault": Out(1)})

    def elaborate(self, platform):
        m = Module()
        mover = Mover(self.config)
        port = self.join(m, mover, [mover.take0])
        connect(m, flipped(self.mover), mover.commands)
        connect(m, mover.choices, flipped(self.choices))
        connect(m, mover.reads, port.reads)
        connect(m, port.data, mover.data)
        connect(m, mover.writes, port.writes)
        m.d.comb += [
            mover.written.eq(port.written), self.busy.eq(mover.busy),
            mover.table.eq(self.table), mover.entries.eq(self.entries),
            self.table_fault.eq(mover.table_fault), self.choice_fault.eq(mover.choice_fault),
        ]
        return m


class DmaSystem(System):
    """Everything that sees addresses: DMA, cache and memory port."""

    def __init__(self, config):
        self.config = config
        super().__init__({
            **port_members(config), **mover_members(config),
            "fetch": In(stream.Signature(Command)), "flush_w": In(1), "flush_d": In(1),
            "w": Out(stream.Signature(8 * config.beat_bytes)),
            "d": Out(stream.Signature(8 * config.beat_bytes)),
            "parts": Out(stream.Signature(kv_part)), "choices": In(stream.Signature(choice)),
            "table": In(32), "entries": In(20), "table_fault": Out(1),
            "ranges": In(stream.Signature(range_command(config))), "range_fault": Out(1),
            "fetch_busy": Out(1), "events": Out(dma_events), "waiting": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        dma = Dma(self.config)
        port = self.join(m, dma, [dma.take0, dma.walk_take])
        for name in ("mover", "fetch"):
            connect(m, flipped(getattr(self, name)), getattr(dma, name))
        connect(m, flipped(self.choices), dma.choices)
        for name in ("w", "d", "parts"):
            connect(m, getattr(dma, name), flipped(getattr(self, name)))
        connect(m, dma.reads, port.reads)
        connect(m, port.data, dma.data)
        connect(m, dma.writes, port.writes)
        connect(m, flipped(self.ranges), dma.ranges)
        m.d.comb += [
            dma.written.eq(port.written), self.range_fault.eq(dma.range_fault),
            dma.table.eq(self.table), dma.entries.eq(self.entries),
            self.table_fault.eq(dma.table_fault),
            dma.flush_w.eq(self.flush_w), dma.flush_d.eq(self.flush_d),
            self.busy.eq(dma.mover_busy), self.fetch_busy.eq(dma.fetch_busy),
            self.events.eq(dma.events), self.waiting.eq(port.waiting),
        ]
        return m


class CacheSystem(wiring.Component):
    """Cache and arbiter on a memory port, with a third reader that goes past the cache."""

    def __init__(self, config):
        self.config = config
        super().__init__({
            **port_members(config),
            **{name: In(stream.Signature(read_request(config))) for name in ("d", "w", "gather")},
            **{f"{name}_data": Out(stream.Signature(cached_data(config)))
               for name in ("d", "w")},
            "gather_data": Out(stream.Signature(read_data(config))),
            "writes": In(stream.Signature(write_data(config))), "written": Out(1),
            "ranges": In(stream.Signature(range_command(config))), "range_fault": Out(1),
            "events": Out(cache_events), "waiting": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.cache = cache = Cache(self.config)
        m.submodules.arbiter = arbiter = ReadArbiter(self.config)
        m.submodules.port = port = MemoryPort(self.config)
        for name in ("d", "w"):
            connect(m, flipped(getattr(self, name)), getattr(cache, name))
            connect(m, getattr(cache, f"{name}_data"), flipped(getattr(self, f"{name}_data")))
        for name in ("d", "w", "fill"):
            connect(m, getattr(cache, f"{name}_reads"), getattr(arbiter, name))
            connect(m, getattr(arbiter, f"{name}_data"), getattr(cache, f"{name}_words"))
        connect(m, flipped(self.gather), arbiter.gather)
        connect(m, arbiter.gather_data, flipped(self.gather_data))
        connect(m, arbiter.reads, port.reads)
        connect(m, port.data, arbiter.data)
        connect(m, flipped(self.writes), cache.writes)
        connect(m, cache.port_writes, port.writes)
        connect(m, flipped(self.ranges), cache.ranges)
        for outer, inner in zip(self.axi, port.axi):
            connect(m, inner, flipped(outer))
        m.d.comb += [
            port.read_limit.eq(self.limit), port.write_limit.eq(self.limit),
            port.halt.eq(self.halt), self.quiet.eq(port.quiet), self.fault.eq(port.fault.valid),
            cache.written.eq(port.written), self.written.eq(port.written),
            self.range_fault.eq(cache.fault), self.events.eq(cache.events),
            self.waiting.eq(port.waiting),
        ]
        return m
