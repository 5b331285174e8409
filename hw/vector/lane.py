"""One FP32 lane of the vector unit."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.float.add import FloatAdd
from hw.float.extreme import FloatExtreme
from hw.float.function import Function, FunctionUnit
from hw.float.multiply import FloatMultiply

from .steps import Route, Term, X, Y


__all__ = ["LaneControl", "Lane"]


#: What all lanes do. ``x``, ``y`` and ``slot`` belong to the row whose operands are there, ``term``
#: to that whose product is there, ``route`` to the one that leaves; ``source``, its route, to the
#: row that is to be the function's operand, and ``function`` to the one that is. ``smaller``, and
#: ``term`` of a tree, are constant while such rows are under way.
LaneControl = data.StructLayout({
    "x": X, "y": Y, "slot": 1, "term": Term, "smaller": 1, "source": Route, "function": Function,
    "route": Route})


class Lane(wiring.Component):
    """Multiplier, adder and function unit in a row, with operand registers before each.

    Beside the adder stands a comparer, of the same operands.

    Latency
    -------
    :attr:`latency` of the route, from operands ``a``, ``b``, ``s`` to ``o``. A second term is
    taken from ``b`` or ``s`` when the product is there, :attr:`term_delay` cycles after the
    operands.

    Throughput
    ----------
    One element each cycle.

    Parameters
    ----------
    technology : str
        Technology of the configuration.
    compares : bool
        Whether there are the routes ``MAXIMUM`` and ``MINIMUM``.

    Members
    -------
    control : ``In(LaneControl)``
    odd : ``In(1)``
        Position in the pair of lanes.
    a, b, s : ``In(32)``
        Elements read from the workspace and from the scratch memory.
    a_pair, b_pair : ``In(32)``
        The same of the other lane of the pair.
    factor, addend : ``In(32)``
        Constants.
    left, right : ``In(32)``
        Products or sums of other lanes, which this lane adds in a tree.
    product, total : ``Out(32)``
        Results of multiplier and adder.
    o : ``Out(32)``
        Result of the route.
    """

    #: Cycles from the operands of a product to its second term.
    term_delay = 1 + FloatMultiply.latency

    #: Cycles from the operands of a sum, two products or sums of other lanes, to ``total``.
    add_delay = 1 + FloatAdd.latency

    def __init__(self, technology, compares):
        self.parameters = (technology, compares)
        self.compares = compares
        self.multiply = FloatMultiply(technology)
        self.add      = FloatAdd()
        self.extreme  = FloatExtreme() if compares else None
        self.function = FunctionUnit(technology)
        words = "a", "b", "s", "a_pair", "b_pair", "factor", "addend", "left", "right"
        super().__init__({
            "control": In(LaneControl), "odd": In(1),
            **{name: In(32) for name in words},
            "product": Out(32), "total": Out(32), "o": Out(32),
        })

    @property
    def function_delay(self):
        """Cycles from the operand of the function to ``o``."""
        return self.function.latency + 1

    @property
    def latency(self):
        """Route -> cycles from the operands to ``o``."""
        function = 1 + self.function.latency
        extreme  = self.term_delay + 1 + FloatExtreme.latency + 1
        return {
            Route.PRODUCT: self.term_delay + 1,
            Route.SUM: self.term_delay + self.add_delay + 1,
            Route.FUNCTION: self.term_delay + function + 1,
            Route.SUM_FUNCTION: self.term_delay + self.add_delay + function + 1,
            Route.FUNCTION_OF_S: function + 1,
            Route.MAXIMUM: extreme, Route.MINIMUM: extreme,
        }

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiply = multiply = self.multiply
        m.submodules.add      = add      = self.add
        m.submodules.function = function = self.function
        control = self.control

        # Factors.
        with m.Switch(control.x):
            with m.Case(X.A):
                m.d.sync += multiply.a.eq(self.a)
            with m.Case(X.PAIR):
                m.d.sync += multiply.a.eq(Mux(control.slot, self.a_pair, self.a))
            with m.Default():
                m.d.sync += multiply.a.eq(self.s)
        with m.Switch(control.y):
            with m.Case(Y.A):
                m.d.sync += multiply.b.eq(self.a)
            with m.Case(Y.B):
                m.d.sync += multiply.b.eq(self.b)
            with m.Case(Y.PAIR):
                m.d.sync += multiply.b.eq(Mux(control.slot ^ self.odd, self.b_pair, self.b))
            with m.Default():
                m.d.sync += multiply.b.eq(self.factor)

        # Terms.
        before = Signal(32)
        negate = Signal()
        m.d.comb += negate.eq((control.term == Term.PAIR) & ~self.odd)
        m.d.sync += [
            before.eq(multiply.o),
            add.a.eq(Cat(multiply.o[:31], multiply.o[31] ^ negate)),
        ]
        with m.Switch(control.term):
            with m.Case(Term.CONSTANT):
                m.d.sync += add.b.eq(self.addend)
            with m.Case(Term.B):
                m.d.sync += add.b.eq(self.b)
            with m.Case(Term.S):
                m.d.sync += add.b.eq(self.s)
            with m.Case(Term.PAIR):
                m.d.sync += add.b.eq(before)
            with m.Default():
                m.d.sync += [add.a.eq(self.left), add.b.eq(self.right)]

        # Function, and result.
        m.d.comb += function.op.eq(control.function)
        with m.Switch(control.source):
            with m.Case(Route.FUNCTION):
                m.d.sync += function.i.eq(multiply.o)
            with m.Case(Route.FUNCTION_OF_S):
                m.d.sync += function.i.eq(self.s)
            with m.Default():
                m.d.sync += function.i.eq(add.o)
        with m.Switch(control.route):
            with m.Case(Route.PRODUCT):
                m.d.sync += self.o.eq(multiply.o)
            with m.Case(Route.SUM):
                m.d.sync += self.o.eq(add.o)
            if self.compares:
                m.submodules.extreme = extreme = self.extreme
                m.d.comb += [extreme.a.eq(add.a), extreme.b.eq(add.b),
                             extreme.smaller.eq(control.smaller)]
                with m.Case(Route.MAXIMUM, Route.MINIMUM):
                    m.d.sync += self.o.eq(extreme.o)
            with m.Default():
                m.d.sync += self.o.eq(function.o)

        m.d.comb += [self.product.eq(multiply.o), self.total.eq(add.o)]
        return m
