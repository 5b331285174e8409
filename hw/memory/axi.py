"""AXI4 as the machine's memory ports speak it."""

from amaranth.lib.wiring import In, Out, Signature


__all__ = ["DECERR", "INCR", "OKAY", "axi4"]

INCR = 1
OKAY, DECERR = 0, 3

#: Normal, non-cacheable, bufferable memory.
CACHE = 0b0011


def axi4(config):
    """One memory channel, from the master's side. All bursts have ID 0 and full-width transfers."""
    def address(prefix):
        return {
            f"{prefix}id": Out(1), f"{prefix}addr": Out(config.address_bits),
            f"{prefix}len": Out(8), f"{prefix}size": Out(3), f"{prefix}burst": Out(2, init=INCR),
            f"{prefix}lock": Out(1), f"{prefix}cache": Out(4, init=CACHE),
            f"{prefix}prot": Out(3), f"{prefix}qos": Out(4),
            f"{prefix}valid": Out(1), f"{prefix}ready": In(1),
        }
    return Signature({
        **address("aw"),
        "wdata": Out(config.data_bits), "wstrb": Out(config.data_bits // 8), "wlast": Out(1),
        "wvalid": Out(1), "wready": In(1),
        "bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
        **address("ar"),
        "rid": In(1), "rdata": In(config.data_bits), "rresp": In(2), "rlast": In(1),
        "rvalid": In(1), "rready": Out(1),
    })
