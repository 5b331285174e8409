"""Commands of the vector unit's bench, what they read, and what must come of them."""

import numpy as np

from hw.isa import SIGNS
from hw.vector.rounding import roundings
from verif.quantising import directed, halves
from verif.reference.divide import divide
from verif.reference.floats import add, maximum, minimum, multiply
from verif.reference.gate import gate
from verif.reference.norm import norm
from verif.reference.pick import noise, pick
from verif.reference.pieces import pieces
from verif.reference.rope import rope
from verif.vector_machine import BLOCK, Job


__all__ = ["ELEMENTWISE", "SEED", "SYNC", "elementwise", "picking", "quantising",
           "quantising_pieces", "sequence", "values"]

SEED = 0x0123456789ABCDEF

ELEMENTWISE = {"sum": add, "multiply": multiply, "maximum": maximum, "minimum": minimum}

#: Counters of a job that has all.
SYNC = dict(take0=3, take1=4, raise0=5, raise1=6)

SPECIAL = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1.17549435e-38,
                    3.4e38, -3.4e38, 2**-126, 65504, 1e-20, 1e20], np.float32)


def values(rng, blocks, extreme=False):
    """Random blocks, in one line; ``extreme`` ones of any magnitude, with special values."""
    x = rng.normal(size=blocks * BLOCK)
    if extreme:
        x = x * np.exp2(rng.uniform(-130, 127, x.shape))
        places = rng.random(x.shape) < 0.05
        x = np.where(places, rng.choice(SPECIAL, x.shape), x)
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def blocks_at(place, x, step=1):
    """Blocks of ``x``, with their places."""
    return [(place + step * n, block) for n, block in enumerate(x.reshape(-1, BLOCK))]


def bits(x):
    return int(np.float32(x).view(np.uint32))


def of_vectors(at, x, gain, y, size):
    """What a norm of vectors of ``size`` blocks takes, and tells with the last one's blocks."""
    blocks = len(x) // BLOCK
    a, b, results = (blocks_at(at[name], values) for name, values in
                     (("a", x), ("b", gain), ("dst", y)))
    last = blocks - (blocks - 1) // size * size
    return dict(a=[a[n::size] for n in range(size)], b=b,
                released=[[place for place, _ in [*a[n::size], b[n]]] for n in range(last)],
                results=[results[n::size] for n in range(last)],
                quiet=[block for n in range(last, size) for block in results[n::size]])


def elementwise(config, op, rng, blocks, extreme=False, period=2, **fields):
    """A job that writes the workspace. In place, if ``fields`` say so by ``dst``."""
    at = dict(a=4, b=config.blocks * 5 // 16, dst=config.blocks * 5 // 8) | fields
    x = values(rng, blocks, extreme)
    if op == "gate":
        b = values(rng, blocks, extreme)
        y = gate(x, b)
        del at["b"]
        return Job(op, at | dict(blocks=blocks), blocks_at(at["a"], x, 2),
                   blocks_at(at["a"] + 1, b, 2), results=blocks_at(at["dst"], y),
                   released=[at["a"] + n for n in range(2 * blocks)])
    if op == "norm":
        size = min(period, blocks) or blocks
        b = values(rng, size)
        if rng.random() < 0.7:
            # Squares that neither overflow nor contain what decides the sum.
            x = np.where(np.abs(x) < 1e15, x, 1).astype(np.float32)
        imm = rng.choice([0, 1e-5, 1, np.nan])
        vectors = [x[n:n + size * BLOCK] for n in range(0, len(x), size * BLOCK)]
        y = np.concatenate([norm(vector, b[:len(vector)], imm) for vector in vectors])
        at |= dict(imm=bits(imm), period=period)
        return Job(op, at | dict(blocks=blocks), **of_vectors(at, x, b, y, size))
    elif op == "rope":
        b = values(rng, min(period, blocks), extreme)
        y = rope(x, b)
        at["period"] = period
    elif op == "divide":
        l = values(rng, -(-blocks // period), extreme)[:-(-blocks // period)]
        y = divide(x, l, period)
        at["period"] = period
        del at["b"]
        return Job(op, at | dict(blocks=blocks), blocks_at(at["a"], x),
                   results=blocks_at(at["dst"], y), sums=[bits(value) for value in l])
    else:
        b = values(rng, blocks, extreme)
        y = ELEMENTWISE[op](x, b)
    return Job(op, at | dict(blocks=blocks), blocks_at(at["a"], x), blocks_at(at["b"], b),
               results=blocks_at(at["dst"], y))


def quantising(rng, vectors, per_vector, group=1, columns=1, target="column", kind="normal",
               dst=3, element="int8", rule="floor", sign="all", **fields):
    """A job that quantises vectors; of kind ``ties`` to values next to and between elements."""
    blocks = vectors * per_vector
    if kind == "ties":
        x = rng.permutation(directed(rng, element))[:blocks].ravel()
    else:
        x = values(rng, blocks, kind == "extreme")
    deal = dict(dst=dst, per_vector=per_vector, columns=columns, target=target)
    sent = halves(x, group, element, rule, sign, **deal)
    codes = [half["code"] for half in sent[::2 * group]]
    at = deal | dict(a=7, blocks=blocks, group=group, element=element, rule=rule,
                     sign=sign)
    return Job("quantise", at | fields, blocks_at(7, x), halves=sent, nans=codes.count(255))


def quantising_pieces(config, rng, blocks, where, group=1, columns=1, target="column", **fields):
    """A job that quantises pieces of the workspace; ``where`` is as
    :func:`verif.reference.pieces.pieces` has it."""
    elements = [rounding.name for rounding in roundings(config)]
    x = values(rng, config.blocks - 8, True)
    deal = dict(dst=2, per_vector=blocks, columns=columns, target=target)
    kind = dict(element=elements[blocks % len(elements)], rule=("floor", "up")[blocks % 2],
                sign=SIGNS[blocks % len(SIGNS)])
    sent = halves(pieces(x, blocks, **where), group, *kind.values(), **deal)
    codes = [half["code"] for half in sent[::2 * group]]
    return Job("quantise", deal | kind | where | dict(a=7, blocks=blocks, group=group) | fields,
               blocks_at(7, x), halves=sent, nans=codes.count(255), released=[[]] * blocks)


def picking(x, imm=1.0, position=None, index=0, first=1, last=1, found=None, **fields):
    """A job that goes through ``x``, a part of a vector from block ``index`` on.

    ``found`` is the index expected; by default that of the largest in ``x``.
    """
    drawn = None
    start = index * BLOCK
    if position is not None:
        drawn = noise(np.arange(start, start + len(x)), position, SEED)
    if found is None:
        found = start + int(pick(x, imm, drawn))
    at = dict(a=9, blocks=len(x) // BLOCK, imm=bits(imm), index=index, first=first, last=last,
              noise=int(position is not None))
    return Job("pick", at | fields, blocks_at(9, x), tokens=[found] if last else [],
               count=position or 0)


def sequence(config, rng, blocks, counted):
    """Jobs each of which reads what the one before wrote, of all kinds; an even number of blocks.

    If ``counted``, each takes it by the counter that the one before raises.
    """
    x, b, sums = values(rng, blocks), values(rng, blocks), values(rng, 1)[:blocks]
    places = 4, config.blocks * 5 // 8
    fields = dict(a=places[0], b=config.blocks * 5 // 16, dst=places[1])
    jobs = [Job("sum", dict(fields, blocks=blocks) | (dict(SYNC, raise0=1) if counted else {}),
                blocks_at(fields["a"], x), blocks_at(fields["b"], b),
                results=blocks_at(fields["dst"], add(x, b)))]
    y = add(x, b)

    def follow(op, wanted=None, together=False, **values):
        """``together``: all blocks are released, and told, at once."""
        at = dict(a=places[len(jobs) % 2], dst=places[(len(jobs) + 1) % 2], blocks=blocks)
        if counted:
            at |= dict(take0=len(jobs), raise0=len(jobs) + 1, raise1=15)
        more = {name: values.pop(name) for name in ("sums", "halves", "tokens", "count")
                if name in values}
        released = [at["a"] + n for n in range(len(y) // BLOCK)]
        if wanted is not None:
            more["results"] = blocks_at(at["dst"], wanted)
        else:
            del at["dst"]
        if together:
            released, more["results"] = [released], [more["results"]]
        jobs.append(Job(op, at | values, (), released=released, **more))
        return wanted

    first = b[:BLOCK]
    y = follow("rope", rope(y, first), b=fields["b"], period=1)
    y = follow("norm", norm(y.reshape(-1, BLOCK), first, 1).ravel(), together=True,
               b=fields["b"], period=1, imm=bits(1), take0=0)
    y = follow("multiply", multiply(y, b), b=fields["b"], take0=0)
    y = follow("norm", norm(y, b, 1), b=fields["b"], imm=bits(1))
    y = follow("divide", divide(y, sums, 1), period=1, sums=[bits(value) for value in sums])
    y = follow("maximum", maximum(y, b), b=fields["b"])
    blocks //= 2
    half = y.reshape(blocks, 2, BLOCK)
    y = follow("gate", gate(half[:, 0].ravel(), half[:, 1].ravel()),
               **(dict(take1=len(jobs)) if counted else {}))
    y = follow("sum", add(y, b[:len(y)]), b=fields["b"])
    deal = dict(dst=3, per_vector=blocks, columns=1, target="column")
    sent = halves(y, 1, "int8", "floor", "all", **deal)
    follow("quantise", group=1, element="int8", halves=sent, **deal)
    # What the quantiser has read is still there.
    jobs.append(Job("pick", dict(a=jobs[-1].fields["a"], blocks=blocks, imm=bits(1.0), first=1,
                                 last=1, noise=1, raise1=14), (), count=5,
                    released=jobs[-1].released,
                    tokens=[int(pick(y, 1.0, noise(np.arange(len(y)), 5, SEED)))]))
    jobs.append(Job("sum", dict(a=jobs[-1].fields["a"], b=fields["b"], dst=100, blocks=blocks), (),
                    released=jobs[-1].released,
                    results=blocks_at(100, add(y, b[:len(y)]))))
    return jobs
