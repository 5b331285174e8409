"""On-die memory of FP32 vectors between the units."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from .protected import ProtectedMemory, clear, memory_error
from .signatures import fixed_read, fixed_write, row_read, row_write


__all__ = ["Workspace"]


class Workspace(wiring.Component):
    """Rows of ``lanes`` FP32 values with two read ports and one write port.

    The vector unit is never refused: its pipelines have no stall. The drain shares read port b,
    the mover read port a, and both wait for the write port, the drain first.

    Latency
    -------
    Reads: data in the cycle after the address. A write is seen by reads of later cycles.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    a, b : ``In(fixed_read(config))``
        The vector unit's operands.
    write : ``In(fixed_write(config))``
        The vector unit's results.
    drain_read, mover_read : ``In(row_read(config))``
        ``ready`` depends combinationally on the vector unit's ``en``.
    drain_write, mover_write : ``In(stream.Signature(row_write(config)))``
        ``ready`` depends combinationally on the writers before it.
    clear : ``In``
        ``en``, ``address``: a row becomes zero.
    errors : ``Out(memory_error(config.rows)).array(2)``
        Of the copies of a and b.
    """

    def __init__(self, config):
        self.config = config
        self.parameters = (config,)
        super().__init__({
            "a": In(fixed_read(config)), "b": In(fixed_read(config)),
            "write": In(fixed_write(config)),
            "drain_read": In(row_read(config)), "mover_read": In(row_read(config)),
            "drain_write": In(stream.Signature(row_write(config))),
            "mover_write": In(stream.Signature(row_write(config))),
            "clear": In(clear(ceil_log2(config.rows))),
            "errors": Out(memory_error(config.rows)).array(2),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config

        # One write, to both copies.
        write = Signal(row_write(config))
        write_en = Signal()
        drain, mover = self.drain_write, self.mover_write
        m.d.comb += [
            drain.ready.eq(~self.write.en),
            mover.ready.eq(~self.write.en & ~drain.valid),
            write_en.eq(self.write.en | drain.valid | mover.valid),
            write.eq(Mux(drain.valid, drain.p, mover.p)),
        ]
        with m.If(self.write.en):
            m.d.comb += [write.address.eq(self.write.address), write.data.eq(self.write.data)]

        # Each read port has a copy; the vector unit comes first.
        for n, (name, first, second) in enumerate((("a", self.a, self.mover_read),
                                                   ("b", self.b, self.drain_read))):
            m.submodules[name] = copy = ProtectedMemory(
                config.row_bits, config.rows, granule=min(64, config.row_bits), ecc=config.ecc)
            if config.ecc:
                connect(m, flipped(self.clear), copy.clear)
            m.d.comb += [
                copy.write.en.eq(write_en.replicate(len(copy.write.en))),
                copy.write.address.eq(write.address), copy.write.data.eq(write.data),
                second.request.ready.eq(~first.en),
                copy.read.en.eq(first.en | second.request.valid),
                copy.read.address.eq(Mux(first.en, first.address, second.request.payload)),
                first.data.eq(copy.read.data), second.data.eq(copy.read.data),
                self.errors[n].eq(copy.error),
            ]
        return m
