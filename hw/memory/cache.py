"""Place of the on-die cache between the streams and the ports."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..signatures import read_data, read_request, write_data


__all__ = ["Cache"]


class Cache(wiring.Component):
    """Passes all reads and writes through, on the two ports that a cache has.

    Latency
    -------
    None.

    Throughput
    ----------
    That of the port; every ``ready`` is that of the other side.

    Parameters
    ----------
    config : :class:`hw.config.Config`

    Members
    -------
    reads, data, writes, written : ``In``, ``Out``, ``In``, ``Out``
        The side of the streams; as of :class:`hw.memory.port.MemoryPort`.
    port_reads, port_data, port_writes, port_written : ``Out``, ``In``, ``Out``, ``In``
        The side of the memory port.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "reads": In(stream.Signature(read_request(config))),
            "data": Out(stream.Signature(read_data(config))),
            "writes": In(stream.Signature(write_data(config))),
            "written": Out(1),
            "port_reads": Out(stream.Signature(read_request(config))),
            "port_data": In(stream.Signature(read_data(config))),
            "port_writes": Out(stream.Signature(write_data(config))),
            "port_written": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        connect(m, flipped(self.reads), flipped(self.port_reads))
        connect(m, flipped(self.port_data), flipped(self.data))
        connect(m, flipped(self.writes), flipped(self.port_writes))
        m.d.comb += self.written.eq(self.port_written)
        return m
