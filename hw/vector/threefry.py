"""Random numbers from counters."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2


__all__ = ["Threefry"]


ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY    = 0x1BD11BDA

#: Rounds between two injections of the key.
GROUP = 4


class Threefry(wiring.Component):
    """Threefry-2x32 with 20 rounds: 64 random bits for each key and counter.

    The numerical reference is :func:`verif.reference.threefry.threefry`.

    Latency
    -------
    ``done`` follows :attr:`latency` cycles after ``start``.

    Throughput
    ----------
    One result in :attr:`latency` cycles: ``start`` may come with ``done``. A start before that
    abandons what is under way.

    Parameters
    ----------
    rounds : int
        Rounds in a cycle: 1, 2 or 4.

    Members
    -------
    start : ``In(1)``
        Begin with the ``counter`` of this cycle.
    key : ``In(64)``
        Word 0 is the lower half. Constant from ``start`` to ``done``.
    counter : ``In(64)``
        Word 0 is the lower half.
    done : ``Out(1)``
        One pulse for each start.
    o : ``Out(64)``
        The result, from ``done`` to the next ``start``. Word 0 is the lower half.
    """

    start: In(1)
    key: In(64)
    counter: In(64)
    done: Out(1)
    o: Out(64)

    def __init__(self, rounds=2):
        if rounds not in (1, 2, 4):
            raise ValueError(f"rounds must be 1, 2 or 4, not {rounds!r}")
        self.parameters = (rounds,)
        self.rounds = rounds
        super().__init__()

    @property
    def latency(self):
        """Cycles from ``start`` to ``done``."""
        return 20 // self.rounds + 1

    def elaborate(self, platform):
        m = Module()
        steps = GROUP // self.rounds

        # Control: groups of rounds, and steps within them; group 5 is the last injection.
        busy      = Signal()
        group     = Signal(3)
        step      = Signal(range(max(steps, 2)))
        last_step = Signal()
        run       = Signal()
        m.d.comb += [
            last_step.eq(step == steps - 1),
            self.done.eq(busy & (group == 5)),
            run.eq(busy & ~self.done),
        ]
        with m.If(run):
            m.d.sync += step.eq(Mux(last_step, 0, step + 1))
            m.d.sync += group.eq(group + last_step)
        with m.If(self.done):
            m.d.sync += busy.eq(0)
        with m.If(self.start):
            m.d.sync += [busy.eq(1), group.eq(0), step.eq(0)]

        # What is injected at the next group, a group early.
        load = Signal()
        m.d.comb += load.eq(self.start | (run & last_step))
        inject0, inject1, inject_sum = self.injections(m, Mux(self.start, 0, group + 1), load, run)

        # Rounds. An injection is merged into the round that follows it.
        x0, x1 = Signal(32), Signal(32)
        y0, y1 = x0, x1
        for n in range(self.rounds):
            z0, z1 = Signal(32, name=f"round_{n}_0"), Signal(32, name=f"round_{n}_1")
            rotations = [ROTATIONS[(k * self.rounds + n) % 8] for k in range(8 // self.rounds)]
            injected = Signal(32, name=f"round_{n}_in")
            m.d.comb += injected.eq(y1 + inject1 if n == 0 else y1)
            m.d.comb += z0.eq(y0 + y1 + inject_sum if n == 0 else y0 + y1)
            with m.Switch(Cat(step[:exact_log2(steps)], group[0])):
                for k, rotation in enumerate(rotations):
                    with m.Case(k):
                        m.d.comb += z1.eq(injected.rotate_left(rotation) ^ z0)
            y0, y1 = z0, z1
        with m.If(run):
            m.d.sync += [x0.eq(y0), x1.eq(y1)]
        with m.If(self.start):
            m.d.sync += Cat(x0, x1).eq(self.counter)
        m.d.comb += self.o.eq(Cat((x0 + inject0)[:32], (x1 + inject1)[:32]))
        return m

    def injections(self, m, number, load, clear):
        """What injection ``number`` adds to both words, and its sum, from the cycle after ``load``;
        zeros from the cycle after ``clear`` without ``load``."""
        key  = [self.key[:32], self.key[32:], Signal(32, name="parity")]
        word = [Signal(32, name=f"word{n}") for n in range(2)]
        held = [Signal(32, name=f"inject{n}") for n in range(3)]
        m.d.comb += key[2].eq(key[0] ^ key[1] ^ PARITY)
        turn = Signal(3)
        m.d.comb += turn.eq(number)
        with m.Switch(turn):
            for n in range(6):
                with m.Case(n):
                    m.d.comb += [word[0].eq(key[n % 3]), word[1].eq(key[(n + 1) % 3])]
        with m.If(clear):
            m.d.sync += Cat(held).eq(0)
        with m.If(load):
            m.d.sync += [held[0].eq(word[0]), held[1].eq(word[1] + turn),
                         held[2].eq(word[0] + word[1] + turn)]
        return held
