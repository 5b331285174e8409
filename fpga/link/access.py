"""Accesses of one word, and what comes of them."""

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature

from .protocol import Status


__all__ = ["access"]


def access(bits):
    """From the side that asks: ``ask`` for one word; later ``answer``. One access at a time."""
    return Signature({
        "ask": Out(stream.Signature(data.StructLayout({"write": 1, "address": 32, "data": bits}))),
        "answer": In(stream.Signature(data.StructLayout({"status": Status, "data": bits}),
                                      always_ready=True)),
    })
