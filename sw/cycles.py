"""The cycle model: how many cycles products take, from the words of a program and a configuration.

It follows each burst, beat and pass through the machine, but no bits::

    memory -> FIFO of W -> unpacker -> queue ahead -> replay -> array -> banks -> drain

A stage takes one item a cycle, and none before there is room behind it. So each time is the
maximum of a few others. docs/bandwidth.md says how close that is.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise

from hw import isa
from hw.float.add import FloatAdd
from hw.float.multiply import FloatMultiply
from hw.formats import named
from hw.matmul.engine import QUEUE
from hw.matmul.layouts import BANKS
from hw.matmul.timing import Timing
from verif.reference.tape import HALF, sections


__all__ = ["product_cycles"]


#: Cycles of an instruction that is dispatched.
DISPATCH = 4

#: From the dispatch of a ``stream`` to its first request, so many more if there is a cache, and
#: from a word at the port to the FIFO.
TO_PORT, LOOK_UP, TO_FIFO = 6, 3, 3

#: From the last sums of a pass to their first read, and from the last read of all to the next
#: instruction, besides those of columns, multiplier and adder.
TO_DRAIN, TO_REST = 3, 5

#: The first pass of a product is drained when all rows before it have been written, which takes so
#: long besides multiplier and adder.
TO_WRITE = 2


def product_cycles(config, words, latency=60):
    """Cycles between the two ``wait cycle`` of a program that multiplies between them.

    Only ``stream`` of W, ``matmul`` that waits for no counter, and ``sync`` may stand there.
    Queues never keep the sequencer from ordering weights in time.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    words : list of int
        The program.
    latency : int
        Of memory, which else delivers a word a cycle.
    """
    model, started = Model(config, latency), False
    for name, values in map(isa.decode, words):
        if name == "wait" and values["source"] == "cycle":
            if started:
                return model.rest()
            started = True
        elif started and name == "stream" and values["stream"] == "w":
            model.order(values)
        elif started and name == "matmul" and not (values["take0"] or values["take1"]):
            model.multiply(values)
        elif started and name != "sync":
            raise ValueError(f"the cycle model knows stream, matmul without counters and sync, "
                             f"not {name} {values}")
    raise ValueError("the program has no two instructions `wait cycle`")


class WordStream:
    """When each beat of W is in the FIFO. Times are asked for in order."""

    def __init__(self, config, latency):
        self.config = config
        self.answer = latency + TO_FIFO
        self.to_port = TO_PORT + (LOOK_UP if config.cache else 0)
        self.capacity = config.w_fifo // config.word_bytes
        self.bursts = deque()           # words of each, and when it is known
        self.flight = deque()           # last words of bursts on their way
        self.requested = 0              # words
        self.request = self.word = 0    # the last burst was requested, and the last word came
        self.times = deque()            # words came that are in no beat yet

    def order(self, line, beats, now):
        """A run of beats, known from a cycle on."""
        burst, word_bytes = self.config.burst, self.config.word_bytes
        first = line * self.config.line_bytes // word_bytes
        last = first + beats * self.config.beat_words
        while first < last:
            end = min(last, (first // burst + 1) * burst)
            self.bursts.append((end - first, now + self.to_port))
            first = end

    def beat(self, fetched):
        """The next beat; ``fetched`` has the times at which those before left the FIFO."""
        items = self.config.beat_words
        while len(self.times) < items:
            words, known = self.bursts.popleft()
            self.requested += words
            # There is room for its words, and for one more burst in flight.
            when = max(self.request + 1, known)
            freed = -(-(self.requested - self.capacity) // items)
            if freed > 0:
                when = max(when, fetched[freed - 1] + 1)
            if len(self.flight) == self.config.outstanding:
                when = max(when, self.flight.popleft() + TO_FIFO)
            self.request = when
            first = max(self.word + 1, when + self.answer)
            self.times.extend(range(first, first + words))
            self.word = first + words - 1
            self.flight.append(self.word - TO_FIFO)
        for _ in range(items):
            time = self.times.popleft()
        return time + 1


@dataclass(frozen=True)
class Tile:
    """Raw beats of a tile, and the array's beats of its blocks.

    Parameters
    ----------
    sections : tuple of (int, int)
        Beats of scales, and blocks behind them.
    blocks : tuple of int
        Beats of each block.
    """

    sections: tuple
    blocks: tuple

    def apart(self, loop):
        """Of each block its beats, cycles to the beat behind it, and whether it is the last.

        Terms of a row are ``loop`` cycles apart, so short blocks are followed by idle cycles.
        """
        for beats, following in pairwise(self.blocks):
            yield beats, 1 + max(0, loop - min(beats, following)), False
        yield self.blocks[-1], 1, True


@cache
def tile(halves, height, format):
    """The :class:`Tile` of ``height`` rows a slice."""
    if format.six:
        raise ValueError(f"the cycle model has no gearbox for {format.name}")
    count, half = -(-halves // 2), height * format.beats // 2
    blocks = [2 * half] * count
    if halves % 2:
        blocks[-1] = half
    return Tile(tuple((section.beats, len(section.blocks))
                      for section in sections(HALF * halves, height, format)), tuple(blocks))


class Model:
    """Times of what the machine does, in cycles from the first ``wait``."""

    def __init__(self, config, latency):
        self.config, self.timing = config, Timing(config)
        self.words = WordStream(config, latency)
        self.writer = FloatAdd.latency + FloatMultiply.latency * config.having("factor")
        self.now = 0                                # of the sequencer
        self.fetched = []                           # beats left the FIFO
        self.taken = 0                              # the unpacker took the last one
        self.offered = 0                            # a beat left the unpacker
        ahead = config.beats_ahead
        self.ahead = deque([0] * ahead, ahead)      # the last beats left the queue behind it
        self.issued = deque([0] * QUEUE, QUEUE)     # the array took the last beats
        self.drained = deque([0] * BANKS, BANKS)    # the last passes were read
        self.gap = 1                                # from the last beat to the next one

    def order(self, values):
        """``stream``"""
        self.now += DISPATCH
        self.words.order(values["base"], values["beats"], self.now)

    def multiply(self, values):
        """``matmul``: tiles, each with all groups of columns."""
        self.now += DISPATCH
        format, groups = named(values["format"]), values["groups"]
        if format.factor:
            self.take()
        self.writes = self.writer + TO_WRITE
        for number in range(values["tiles"]):
            height = values["tail" if number == values["tiles"] - 1 else "height"]
            shape = tile(values["halves"], height, format)
            for group in range(groups):
                if group:
                    self.replay(shape)
                else:
                    self.first(shape)
                self.drain(height, values["columns"], format.four)
        self.gap = 2                                # an idle cycle before the next command

    def take(self, free=0):
        """The unpacker takes the next beat, if its register is free."""
        came = self.words.beat(self.fetched)
        self.fetched.append(max(came, self.taken))
        self.taken = max(self.fetched[-1] + 1, self.taken + 1, free)

    def first(self, shape):
        """A tile as it comes, for the first group of columns."""
        blocks = shape.apart(self.timing.loop)
        for scales, number in shape.sections:
            for _ in range(scales):
                self.take()
            for beats, gap, last in islice(blocks, number):
                for beat in range(beats):
                    self.take(self.offered)
                    self.offered = max(self.taken, self.ahead[0]) + 1
                    # Through the queue ahead, and the one in front of the array.
                    passed = max(self.offered, self.ahead[-1], self.issued[0]) + 1
                    self.ahead.append(passed)
                    self.issue(passed + 1, last and not beat)
                self.gap = gap

    def replay(self, shape):
        """A tile for another group of columns."""
        for beats, gap, last in shape.apart(self.timing.loop):
            self.issue(0, last)
            end = self.issued[-1] + beats - 1
            self.issued.extend((end - 1, end) if beats > 1 else ())
            self.gap = gap

    def issue(self, ready, last):
        """The array takes a beat; the last block of a pass needs a bank."""
        when = max(ready, self.issued[-1] + self.gap)
        if last:
            when = max(when, self.drained[0])
        self.gap = 1
        self.issued.append(when)

    def drain(self, height, columns, four):
        """All sums of a pass leave the array; of 4 bits a beat has two, one after the other."""
        config = self.config
        reads = columns * -(-height // config.drain_rows)
        rows = max(1, config.drain_rows * config.slices // config.lanes)
        start = max(self.issued[-1] + self.timing.write + four + TO_DRAIN,
                    self.drained[-1] + self.writes)
        self.writes = 0
        self.drained.append(start + reads * rows)

    def rest(self):
        """When all is done."""
        return self.drained[-1] + self.config.columns + self.writer + TO_REST
