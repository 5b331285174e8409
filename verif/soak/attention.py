"""Steps of random programs that write and read keys and values."""

from verif.reference.pattern import BLOCK

from .cache import CacheSteps
from .image import HEADS, POOL
from .writer import COUNT, FREE


__all__ = ["AttentionSteps"]


class AttentionSteps(CacheSteps):
    """Part of :class:`.Program`: appends, walks and attends."""

    def page_table(self):
        """From now on, blocks lie where a table says."""
        self.sync()
        self.emit("paging", base=self.image.tables[self.number(0, 3)], entries=POOL)

    def attention(self, first=None):
        """A token is appended to one or two heads, from this one on, then queries attend to all of
        it."""
        heads = self.number(1, 2)
        first = self.number(0, HEADS - heads) if first is None else min(first, HEADS - heads)
        columns, groups = self.number(1, self.config.columns), self.number(1, self.config.kv_groups)
        vectors = columns * groups
        self.room(2 * heads + heads * 3 * vectors, heads * 6 * groups, counters=14)
        if self.staged:
            self.sync()
        self.staged = True
        tokens = int(self.flag(0.3)) if groups == 1 else 0
        count = self.number(columns if tokens else 1, POOL * BLOCK - 40)
        ring, window, sinks, pattern, pages = self._pattern(count)
        where = dict(base=self.image.heads[first], head_blocks=1, ring=ring, sinks=sinks)
        self.emit("set", rd=COUNT, imm=count - 1)
        keys = self.gather(2 * heads)
        staged, appended = self.counter(), self.counter()
        self.emit("quantise", a=keys.start, dst=0, blocks=2 * heads, target="staging", group=1,
                  per_vector=1, columns=1, take0=self.use(keys, "vector"), raise0=staged)
        # The cache may begin to hold what is being written.
        races = self.config.cache and self.flag(0.3)
        written = where["base"] + (count - 1) // BLOCK * self.config.kv_lines(1)
        if races and self.flag():
            self.hold(written, self.config.kv_lines(1), True)
        self.emit("append", count=COUNT, heads=heads, head_stride=self.image.head_lines,
                  take0=staged, raise0=appended, **where)
        if races and self.flag():
            self.hold(written, self.config.kv_lines(1), True)
        register = self.number(FREE[0], FREE[-1])
        self.emit("set", rd=register, imm=count)
        queries, outputs, selecting = [], [], []
        for _ in range(heads):
            q = self.gather(vectors)
            act = self.fresh_act(groups)
            ready = self.counter()
            self.emit("quantise", a=q.start, dst=act, blocks=vectors, group=1, per_vector=1,
                      columns=columns, take0=self.use(q, "vector"), raise0=ready)
            queries.append((act, ready))
            if pattern == "chosen" and pages is None:
                selecting.append(self._signed(q, columns, groups))
        for n in range(heads):
            if pattern == "chosen" and pages is None:
                self._select(selecting[n], columns, groups)
            elif pattern == "chosen":
                line, entries = pages
                self.emit("set", rd=COUNT, imm=self.number(0, POOL))
                self.emit("choose", base=line, entries=entries, count=COUNT)
            self.emit("walk", **where | {"base": where["base"] + n * self.image.head_lines},
                      take0=appended, count=register, span=columns if tokens else 1, window=window,
                      pattern=pattern, chain=int(n > 0 and self.flag()))
            act, ready = queries[n]
            out = self.fresh(vectors)
            self.emit("attend", dst=out.start, act=act, columns=columns, groups=groups,
                      probability=self.fresh_act((self.config.keys_ahead + 1) * groups),
                      head_blocks=1, count=register, window=window, sinks=sinks, tokens=tokens,
                      take0=ready, raise0=out.counter)
            outputs.append(out)
            if n == 0 and self.flag():
                self._divide(outputs.pop())
        for out in outputs:
            self._divide(out)

    def _signed(self, q, columns, groups):
        """Elements of the queries by their sign; block and counter."""
        act, ready = self.fresh_act(2 * groups), self.counter()
        for n in range(2 * groups):
            self.emit("quantise", a=q.start + n // 2 * columns, dst=act + n, blocks=columns,
                      group=1, per_vector=1, columns=columns, raise0=ready,
                      sign=("positive", "negative")[n % 2])
        return act, ready

    def _select(self, queries, columns, groups):
        """Pages are chosen by their bounds."""
        act, ready = queries
        self.emit("set", rd=COUNT, imm=self.number(1, POOL))
        self.emit("walk", base=self.image.bounds, count=COUNT, head_blocks=1, span=1,
                  pattern="bounds")
        self.emit("select", act=act, head_blocks=1, columns=columns, groups=groups, count=COUNT,
                  skip=self.number(0, 2), recent=self.number(0, 2), shift=self.number(0, 2),
                  least=self.number(0, 3), take0=ready)

    def _divide(self, out):
        self.await_for("vector", out)
        take = self.use(out, "vector")
        y = self.fresh(out.blocks)
        self.emit("divide", a=out.start, dst=y.start, blocks=out.blocks, period=1,
                  take0=take, raise0=y.counter)

    def _pattern(self, count):
        """``(ring, window, sinks, pattern, list)``: what queries see, and where it lies."""
        if self.flag():
            return 0, 0, 0, "window", None
        window = self.number(1, 90)
        sinks = self.number(0, min(window, 40))
        if self.flag(0.3):
            lists = self.image.lists
            if self.config.pages and self.flag():
                return 0, window, sinks, "chosen", None
            return 0, window, sinks, "chosen", lists[self.number(0, len(lists) - 1)]
        held = -(-sinks // BLOCK)
        ring = (window + self.config.columns) // BLOCK + 2
        return (ring if held + ring <= POOL and self.flag() else 0), window, sinks, "window", None
