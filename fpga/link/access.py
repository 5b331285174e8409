"""Accesses of one word, and what comes of them."""

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature


__all__ = ["access"]


def access(bits):
    """From the side that asks: ``ask`` for one word; later ``answer``. One access at a time."""
    return Signature({
        "ask": Out(stream.Signature(data.StructLayout({"write": 1, "address": 32, "data": bits}))),
        "answer": In(stream.Signature(data.StructLayout({"error": 1, "data": bits}),
                                      always_ready=True)),
    })
