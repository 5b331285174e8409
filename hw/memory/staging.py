"""Staging memory of quantised keys and values on their way to memory."""

from amaranth import *
from amaranth.hdl import signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import ceil_log2


__all__ = ["staging_write", "staging_block", "staging_read", "Staging"]


def staging_write(config):
    """Half a quantised block for the staging memory; taken in every cycle with ``en``."""
    return data.StructLayout({
        "en":      1,
        "address": ceil_log2(config.kv_staging),        # staging block
        "half":    1,                                   # elements 0-15 or 16-31
        "data":    data.ArrayLayout(signed(8), 16),
        "code":    8,                                   # E8M0 scale, the same with both halves
    })


#: A whole block, as it is read.
staging_block = data.StructLayout({"data": data.ArrayLayout(signed(8), 32), "code": 8})


def staging_read(config):
    """A unit's side of a read port of the staging memory: ``data`` a cycle after ``en``."""
    return Signature({"en": Out(1), "address": Out(ceil_log2(config.kv_staging)),
                      "data": In(staging_block)})


class Staging(wiring.Component):
    """Quantised blocks between the vector unit, which writes halves, and the mover.

    Latency
    -------
    ``data`` is the block at ``address`` one cycle after ``read``, until the next one; a write is
    seen by reads that start in the cycle after it.

    Throughput
    ----------
    One half written and one block read each cycle.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    write : ``In(staging_write(config))``
        From the quantiser.
    read, address : ``In(1)``, ``In(ceil_log2(config.kv_staging))``
        Block to read.
    data : ``Out(staging_block)``
        What the block holds.
    forwarded : ``In(staging_read(config))``, only if ``config.forward``
        The same, for attention.
    """

    latency = 1

    def __init__(self, config):
        self.config = config
        super().__init__({
            "write": In(staging_write(config)),
            "read": In(1), "address": In(ceil_log2(config.kv_staging)),
            "data": Out(staging_block),
            **({"forwarded": In(staging_read(config))} if config.forward else {}),
        })

    def elaborate(self, platform):
        m = Module()
        ports = [(self.read, self.address, self.data)]
        if self.config.forward:
            other = self.forwarded
            ports.append((other.en, other.address, other.data))
        blocks = [[] for _ in ports]
        for name, shape, value, en in (
                ("half_0", 128, self.write.data, self.write.en & ~self.write.half),
                ("half_1", 128, self.write.data, self.write.en & self.write.half),
                ("codes", 8, self.write.code, self.write.en)):
            memory = Memory(shape=shape, depth=self.config.kv_staging, init=[])
            m.submodules[name] = memory
            write = memory.write_port()
            m.d.comb += [write.addr.eq(self.write.address), write.data.eq(value), write.en.eq(en)]
            for (read_en, address, _), block in zip(ports, blocks, strict=True):
                read = memory.read_port()
                m.d.comb += [read.addr.eq(address), read.en.eq(read_en)]
                block.append(read.data)
        for (_, _, found), block in zip(ports, blocks, strict=True):
            m.d.comb += found.eq(Cat(block))
        return m
