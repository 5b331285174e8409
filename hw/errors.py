"""What memories with check bits found, together."""

from functools import reduce
from operator import add, or_

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from . import register_map as rm
from .protected import memory_error


__all__ = ["Errors", "errors"]


def errors(places):
    """Words that were corrected in a cycle, and whether one cannot be; and the place of one of
    each kind, as :func:`hw.register_map.place`."""
    return Signature({"corrected": Out(range(len(places) + 1)), "corrected_place": Out(32),
                      "fault": Out(1), "fault_place": Out(32)})


class Errors(wiring.Component):
    """Joins the errors of several memories.

    Latency
    -------
    One cycle.

    Parameters
    ----------
    places : tuple of :class:`hw.register_map.Place`

    Members
    -------
    i : ``In(memory_error(2**rm.PLACE_BITS))``, array
        Of the memory at each place.
    o : ``Out(errors(places))``
    """

    def __init__(self, places):
        self.places = places
        super().__init__({"i": In(memory_error(2**rm.PLACE_BITS)).array(len(places)),
                          "o": Out(errors(places))})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [
            self.o.corrected.eq(reduce(add, (found.single for found in self.i))),
            self.o.fault.eq(reduce(or_, (found.double for found in self.i))),
        ]
        for kind, target in (("single", self.o.corrected_place),
                             ("double", self.o.fault_place)):
            chosen = 0
            for place, found in zip(self.places, self.i):
                chosen = Mux(getattr(found, kind), rm.place(place, found.address), chosen)
            m.d.sync += target.eq(chosen)
        return m
