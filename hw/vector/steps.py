"""The steps of which vector operations consist, as tables.

A step sends rows of operands down the lanes once. Each lane multiplies, then may add or compare,
then may take a function; the rows that leave go to the workspace, to the scratch memory, or
elsewhere. Only fields that differ from a plain product need to be named.
"""

from amaranth.lib import data, enum

from hw.float.function import Function
from hw.isa import BY_NAME


__all__ = ["X", "Y", "Term", "Route", "To", "Length", "Factor", "Addend", "Fill", "Step", "STEPS",
           "ENTRY"]


class X(enum.Enum, shape=2):
    """First factor."""

    A = 0
    PAIR = 1      # two slots a row: the own element of a, then that of the other lane of the pair
    S = 2


class Y(enum.Enum, shape=2):
    """Second factor."""

    A = 0
    B = 1
    PAIR = 2      # two slots a row: the pair's first element of b, then its second
    CONSTANT = 3


class Term(enum.Enum, shape=3):
    """What is added to the product."""

    CONSTANT = 0
    B = 1
    S = 2
    PAIR = 3      # the product of the slot before; the later product is negated in even lanes
    TREE = 4      # lanes form a tree: each adds two products, or two sums of other lanes


class Route(enum.Enum, shape=3):
    """Through which of multiplier, adder and function a row passes."""

    PRODUCT = 0
    SUM = 1
    FUNCTION = 2          # of the product
    SUM_FUNCTION = 3      # of the sum
    FUNCTION_OF_S = 4     # of the scratch memory's row
    TREE = 5
    MAXIMUM = 6           # of product and term
    MINIMUM = 7


class To(enum.Enum, shape=3):
    """Where a row goes."""

    NONE = 0
    WORKSPACE = 1
    SCRATCH = 2
    AGAIN = 3             # to the workspace, where the next step reads it and writes its own
    REDUCTION = 4
    PICK = 5
    QUANTISER = 6


class Length(enum.Enum, shape=3):
    """Rows of a step."""

    ALL = 0       # all blocks that remain, each as soon as it is there
    HEADS = 1     # blocks of the divisors of the step before, likewise; each ``period`` of them,
                  # a head or a vector, use one row of the scratch memory
    BATCH = 2     # blocks that are there, as many as the scratch memory holds
    SAME = 3      # the blocks of the step before
    VECTORS = 4   # blocks of as many vectors as the scratch memory has rows, each as soon as it is
                  # there
    DIVISORS = 5  # a row for each divisor, as many as are there and as the scratch memory holds


class Factor(enum.Enum, shape=2):
    """Constant that is multiplied with."""

    ONE = 0
    IMMEDIATE = 1
    MINUS_LOG2_E = 2
    MINUS_LN_2 = 3


class Addend(enum.Enum, shape=1):
    """Constant that is added."""

    ONE = 0
    UNIFORM = 1           # 2^-24 - 1: makes 1.m a number between 0 and 1


class Fill(enum.Enum, shape=2):
    """What is put into the scratch memory before the step, or while it runs."""

    NONE = 0
    TOTALS = 1            # of the reduction, a row for each vector, from this step on
    DIVISORS = 2          # of the stream of sums, while the step runs
    NOISE = 3             # random numbers, as 1.m, before it


Step = data.StructLayout({
    "x": X, "y": Y, "term": Term, "route": Route, "function": Function, "to": To,
    "length": Length, "factor": Factor, "addend": Addend, "fill": Fill,
    "uses_a":  1, "uses_b": 1,    # operands of which a row is read in each row of the step
    "uses_s":  1,
    "mark":    1,                 # put the mark where a is; a command begins with it there
    "rewind":  1,                 # read a from where the mark is
    "again":   1,                 # put the mark where a is, and read as a what the step before
                                  # wrote
    "chain":   1,                 # rows need no others of the step before than the same ones: it
                                  # need not have left the lanes
    "release": 2,                 # source blocks read for the last time with each block
    "last":    1,                 # blocks are done; if any remain, go to step ``loop``
    "loop":    5,
})


def uses(operand, fields):
    """Whether a step reads ``operand``: ``a``, ``b`` or ``s``."""
    x, y, term = (fields.get(key) for key in ("x", "y", "term"))
    return int({
        "a": x in (X.A, X.PAIR) or y is Y.A,
        "b": y in (Y.B, Y.PAIR) or term is Term.B,
        "s": x is X.S or term is Term.S or fields.get("route") is Route.FUNCTION_OF_S,
    }[operand])


#: op -> steps; ``loop`` counts from the op's first step.
OPS = {
    "sum": [
        dict(x=X.A, y=Y.CONSTANT, term=Term.B, route=Route.SUM, to=To.WORKSPACE, release=1, last=1),
    ],
    "multiply": [
        dict(x=X.A, y=Y.B, to=To.WORKSPACE, release=1, last=1),
    ],
    "maximum": [
        dict(x=X.A, y=Y.CONSTANT, term=Term.B, route=Route.MAXIMUM, to=To.WORKSPACE, release=1,
             last=1),
    ],
    "minimum": [
        dict(x=X.A, y=Y.CONSTANT, term=Term.B, route=Route.MINIMUM, to=To.WORKSPACE, release=1,
             last=1),
    ],
    "rope": [
        dict(x=X.PAIR, y=Y.PAIR, term=Term.PAIR, route=Route.SUM, to=To.WORKSPACE, release=1,
             last=1),
    ],
    # e = exp2(a * c); r = reciprocal(e + 1); a * r; * b
    "gate": [
        dict(x=X.A, y=Y.CONSTANT, factor=Factor.MINUS_LOG2_E, route=Route.FUNCTION,
             function=Function.EXP2, to=To.SCRATCH, length=Length.BATCH, mark=1, chain=1),
        dict(x=X.S, y=Y.CONSTANT, route=Route.SUM_FUNCTION, function=Function.RECIPROCAL,
             to=To.SCRATCH, length=Length.SAME, rewind=1, chain=1),
        dict(x=X.S, y=Y.A, to=To.SCRATCH, length=Length.SAME, chain=1),
        dict(x=X.S, y=Y.B, to=To.WORKSPACE, length=Length.SAME, chain=1, release=2, last=1),
    ],
    # totals + imm; r = rsqrt of each; a * r of its vector; * gain
    "norm": [
        dict(x=X.A, y=Y.A, term=Term.TREE, route=Route.TREE, to=To.REDUCTION, fill=Fill.TOTALS,
             length=Length.VECTORS, rewind=1),
        dict(route=Route.FUNCTION_OF_S, function=Function.RSQRT, to=To.SCRATCH,
             length=Length.DIVISORS),
        dict(x=X.S, y=Y.A, to=To.AGAIN, length=Length.HEADS, rewind=1),
        dict(x=X.A, y=Y.B, to=To.WORKSPACE, length=Length.SAME, again=1, chain=1, release=1,
             last=1),
    ],
    # r = reciprocal of each sum; a * r of its head
    "divide": [
        dict(fill=Fill.DIVISORS, route=Route.FUNCTION_OF_S,
             function=Function.RECIPROCAL, to=To.SCRATCH, length=Length.DIVISORS),
        dict(x=X.S, y=Y.A, to=To.WORKSPACE, length=Length.HEADS, release=1, last=1),
    ],
    "pick": [
        dict(x=X.A, y=Y.CONSTANT, factor=Factor.IMMEDIATE, to=To.PICK, release=1, last=1),
    ],
    # l = log2(u); l = log2(l * c); l * c; a * imm + that
    "noise": [
        dict(fill=Fill.NOISE, x=X.S, y=Y.CONSTANT, route=Route.SUM_FUNCTION,
             addend=Addend.UNIFORM, function=Function.LOG2, to=To.SCRATCH, length=Length.BATCH),
        dict(x=X.S, y=Y.CONSTANT, factor=Factor.MINUS_LN_2, route=Route.FUNCTION,
             function=Function.LOG2, to=To.SCRATCH, length=Length.SAME),
        dict(x=X.S, y=Y.CONSTANT, factor=Factor.MINUS_LN_2, to=To.SCRATCH, length=Length.SAME),
        dict(x=X.A, y=Y.CONSTANT, factor=Factor.IMMEDIATE, term=Term.S, route=Route.SUM,
             to=To.PICK, length=Length.SAME, release=1, last=1),
    ],
    "quantise": [
        dict(x=X.A, to=To.QUANTISER, last=1),
    ],
}


def may_chain(step, before):
    """Whether the rows of two steps may be in the lanes together.

    A term that is read late, and a tree, rely on the step as long as its rows are under way; so
    do all on the constant that is added.
    """
    terms = {fields.get("term") for fields in (step, before)}
    return (not terms & {Term.B, Term.S, Term.TREE}
            and step.get("addend", Addend.ONE) is before.get("addend", Addend.ONE))


def table():
    """All steps with all their fields, and the number of each op's first step."""
    steps, entry = [], {}
    for op, sequence in OPS.items():
        entry[op] = first = len(steps)
        for number, fields in enumerate(sequence):
            assert not fields.get("chain") or may_chain(fields, sequence[number - 1]), (op, number)
        for fields in sequence:
            used = {f"uses_{operand}": uses(operand, fields) for operand in "abs"}
            steps.append(fields | used | {"loop": first + fields.get("loop", 0)})
    return steps, entry


#: Every step, as values of :data:`Step`'s fields; and op -> number of its first step. Beside the
#: vector instructions there is the op ``noise``: ``pick`` with noise.
STEPS, ENTRY = table()

assert set(ENTRY) - {"noise"} <= set(BY_NAME)
