"""Steps of random programs that compute with vectors and matrices, and take numbers from them."""

from hw import isa

from .image import DATA
from .writer import COUNT, FREE, Writer


__all__ = ["VectorSteps"]


class VectorSteps(Writer):
    """Part of :class:`.Program`: vector operations, products, picks and loads."""

    def vector(self):
        """An operation on one or two vectors."""
        self.room(24, counters=4)
        name = str(self.rng.choice(["norm", "rope", "gate", "sum", "multiply"]
                                   + ["maximum", "minimum"] * bool(self.config.pages)))
        a = self.some(2 if name == "gate" else None)
        if name == "gate":
            blocks = a.blocks // 2
            if a.counter and a.blocks % 2:
                self.sync()
            self.await_for("vector", a)
            take = self.use(a, "vector")
            out = self.fresh(blocks)
            self.emit("gate", dst=out.start, a=a.start, blocks=blocks, take0=take, take1=take,
                      raise0=out.counter)
            return
        period = self.number(1, a.blocks)
        b = self.some(period if name == "rope" else a.blocks)
        if b.counter and (b is a or b.blocks != (period if name == "rope" else a.blocks)):
            self.sync()
        alone = a.settled and a.reader is None and a is not b
        self.await_for("vector", a, b)
        take0, take1 = self.use(a, "vector"), self.use(b, "vector")
        extra = {"rope": dict(period=period), "norm": dict(imm=0x3727C5AC)}.get(name, {})
        # In place only what nobody else reads.
        if alone and self.flag(0.3):
            a.counter, a.settled = self.counter(), False
            out = a
        else:
            out = self.fresh(a.blocks)
        self.emit(name, dst=out.start, a=a.start, b=b.start, blocks=a.blocks, take0=take0,
                  take1=take1, raise0=out.counter, **extra)

    def quantise_and_multiply(self, first=None):
        """Several matrices of one stream, from this one on, by vectors of their size."""
        matrices = self.image.matrices
        first = self.number(0, len(matrices) - 1) if first is None else first
        chosen = [matrices[first]]
        # One descriptor may read several, if each fills its lines.
        for matrix in matrices[first + 1:first + self.number(1, 3)]:
            if chosen[-1].beats * self.config.beat_bytes % self.image.line:
                break
            chosen.append(matrix)
        beats = sum(matrix.beats for matrix in chosen)
        for n, matrix in enumerate(chosen):
            columns = self.number(1, self.config.columns)
            groups = self.number(1, 2) if matrix.size <= 96 and matrix.format != "int4" else 1
            count, rows = columns * groups, matrix.rows // 32
            self.room(count * (matrix.blocks + rows), count * matrix.blocks, counters=4)
            a = self.gather(count * matrix.blocks)
            act = self.fresh_act(groups * matrix.blocks)
            # A product waits for the blocks of one column only.
            counter = self.counter() if columns == 1 and groups == 1 else 0
            self.emit("quantise", a=a.start, dst=act, blocks=a.blocks, take0=self.use(a, "vector"),
                      group=self.number(1, min(matrix.blocks, 4)), per_vector=matrix.blocks,
                      columns=columns, rule=str(self.rng.choice(isa.RULES)), raise0=counter)
            if not counter:
                self.sync()
            if n == 0:
                self.emit("stream", stream="w", base=matrix.line, beats=beats)
            y = self.fresh(count * rows)
            self.emit("matmul", dst=y.start, act=act, halves=matrix.size // 16, tiles=matrix.tiles,
                      height=matrix.height, tail=matrix.tail, columns=columns, groups=groups,
                      stride=rows, format=matrix.format, take0=counter,
                      raise0=y.counter if count == 1 else 0)
            if count > 1:
                # It counts the blocks of the last vector only.
                self.counters.append(y.counter)
                y.counter = 0

    def pick(self):
        """The largest number of a vector, by way of the register of a ``wait``."""
        self.room(8, counters=2)
        a = self.some()
        self.await_for("vector", a)
        self.emit("pick", a=a.start, blocks=a.blocks, imm=0x3F800000, index=self.number(0, 99),
                  first=1, last=1, noise=int(self.flag()), take0=self.use(a, "vector"))
        register = self.number(FREE[0], FREE[-1])
        self.emit("wait", rd=register, source="token")
        self.emit("emit", ra=register)

    def load(self):
        register = self.number(FREE[0], FREE[-1])
        self.emit("set", rd=COUNT, imm=self.number(0, 31))
        self.emit("load", base=self.number(0, len(DATA) // self.image.line - 2), count=COUNT)
        self.emit("wait", rd=register, source="load")
        self.emit("emit", ra=register)
