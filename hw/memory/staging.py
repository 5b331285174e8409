"""Staging memory of quantised keys and values on their way to memory."""

from amaranth import *
from amaranth.hdl import signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2


__all__ = ["staging_write", "staging_block", "Staging"]


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
    """

    latency = 1

    def __init__(self, config):
        self.config = config
        super().__init__({
            "write": In(staging_write(config)),
            "read": In(1), "address": In(ceil_log2(config.kv_staging)),
            "data": Out(staging_block),
        })

    def elaborate(self, platform):
        m = Module()
        halves = []
        for half in range(2):
            memory = Memory(shape=128, depth=self.config.kv_staging, init=[])
            m.submodules[f"half_{half}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(self.write.address),
                write.data.eq(self.write.data),
                write.en.eq(self.write.en & (self.write.half == half)),
                read.addr.eq(self.address), read.en.eq(self.read),
            ]
            halves.append(read.data)
        m.submodules.codes = codes = Memory(shape=8, depth=self.config.kv_staging, init=[])
        write, read = codes.write_port(), codes.read_port()
        m.d.comb += [
            write.addr.eq(self.write.address),
            write.data.eq(self.write.code),
            write.en.eq(self.write.en),
            read.addr.eq(self.address), read.en.eq(self.read),
            self.data.eq(Cat(*halves, read.data)),
        ]
        return m
