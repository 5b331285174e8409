"""Programs of one layer's attention: decoding a token, and a prompt by chunks of tokens.

Keys and values lie in memory already. A program emits the cycles at which the first walk is
dispatched and at which the last result is there.
"""

from sw.compile.assembler import Assembler


__all__ = ["Layout", "decode", "prefill"]


COUNTERS = {name: number + 1 for number, name in enumerate((
    "loaded", "attended", "last", "done", "room"))}
REGISTERS = {name: number + 1 for number, name in enumerate((
    "start", "end", "none", "count", "pages", "behind"))}
MOST_RAISED = 1023


class Layout:
    """Where the operands and results of a case lie.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    case : :class:`sw.bench.attention_data.Case`
    chunk : int
        Tokens that attend together; 0 for one token whose query heads lie in columns.

    Attributes
    ----------
    columns, groups : int
        Of an ``attend``.
    vectors : int
        Queries of a KV head that attend together.
    """

    def __init__(self, config, case, chunk=0):
        self.config, self.case, self.chunk = config, case, chunk
        self.head = case.head_blocks
        # Heads of a chunk's tokens are groups, those of one token are columns as far as they go.
        self.columns = chunk or min(case.queries, config.columns)
        self.groups = case.queries if chunk else -(-case.queries // self.columns)
        self.vectors = self.columns * self.groups
        self.chunks = case.tokens // chunk if chunk else 1
        self.blocks = case.kv_heads * self.vectors * self.head
        self.place, self.lines = 0, {}
        for name in ("queries", "results"):
            self._region(name, self.blocks * 128)

    def _region(self, name, size):
        self.lines[name] = self.place
        self.place += -(-size // self.config.line_bytes)

    def place_images(self, name, images):
        """Lay out bytes of each KV head; ``[(byte address, bytes)]``."""
        size = max(image.size for image in images)
        self.lines[name] = self.place
        self.lines[f"{name}_stride"] = stride = size // self.config.line_bytes
        self.place += len(images) * stride
        return [((self.lines[name] + n * stride) * self.config.line_bytes, image.tobytes())
                for n, image in enumerate(images)]

    @property
    def bytes(self):
        """Of all regions."""
        return self.place * self.config.line_bytes


class Writer:
    """Emits the instructions of a layout."""

    def __init__(self, layout):
        self.layout, self.case = layout, layout.case
        self.out = Assembler(COUNTERS, REGISTERS)
        #: Workspace and activation blocks of one ``attend``.
        self.item_blocks = layout.vectors * layout.head
        self.act_blocks = layout.groups * layout.head

    def quantise(self, a, dst, blocks, **values):
        self.out.emit("quantise", a=a, dst=dst, blocks=blocks, target="column", group=1,
                      per_vector=self.layout.head, columns=self.layout.columns, **values)

    def walk(self, head, **values):
        case, lines = self.case, self.layout.lines
        self.out.emit("walk", f"KV head {head}", base=lines["kv"] + head * lines["kv_stride"],
                      count="count", head_blocks=self.layout.head, window=case.window,
                      sinks=case.sinks, ring=case.ring, page=case.page,
                      pattern="chosen" if case.share else "window", **values)

    def attend(self, act, probability, dst, **values):
        case, layout = self.case, self.layout
        # All tokens of chosen blocks are seen.
        seen = {} if case.share else {"window": case.window, "sinks": case.sinks}
        self.out.emit("attend", act=act, probability=probability, dst=dst, count="count",
                      head_blocks=layout.head, columns=layout.columns, groups=layout.groups,
                      **seen, **values)

    def divide(self, dst, **values):
        """The output of an ``attend`` is divided.

        Values of large heads are drained in several tiles, each of all vectors, and so are raised
        in another order than that in which ``divide`` takes them: then all must be there first.
        So must those of a chunk, as ``divide`` writes when more could be drained. ``pick`` waits
        and writes nothing.
        """
        layout = self.layout
        if layout.chunk or layout.config.value_groups(layout.head) > 1:
            self.out.emit("pick", "waits", a=dst, blocks=self.item_blocks, imm=0, index=0, first=1,
                          last=0, take0="attended")
        else:
            values["take0"] = "attended"
        self.out.emit("divide", dst=dst, a=dst, blocks=self.item_blocks, period=layout.head,
                      **values)

    def finish(self):
        """Both cycles go to the host."""
        for register in ("start", "end"):
            self.out.emit("emit", ra=register)
        self.out.emit("stop")
        return self.out.words()


def decode(layout):
    """Words of a program for the last token, whose keys and values are in memory."""
    w, case, head = Writer(layout), layout.case, layout.head
    out, item, act = w.out, w.item_blocks, w.act_blocks
    # Positive and negative parts of queries, then probabilities.
    parts = case.kv_heads * act
    probability = parts * (3 if case.share else 1)
    out.emit("set", "tokens", rd="count", imm=case.tokens)
    out.emit("set", "pages that have bounds", rd="pages", imm=case.pages)
    out.emit("gather", "queries", dst=0, blocks=layout.blocks, base=layout.lines["queries"],
             raise0="loaded")
    w.quantise(0, 0, layout.blocks, take0="loaded")
    for n in range(case.kv_heads * layout.groups if case.share else 0):
        blocks = layout.columns * head
        for m, sign in enumerate(("positive", "negative")):
            w.quantise(n * blocks, parts + (2 * n + m) * head, blocks, sign=sign)
    out.emit("sync")
    out.emit("wait", rd="start", source="cycle")
    for n in range(case.kv_heads):
        if case.share:
            select(w, n, parts + 2 * n * act)
        w.walk(n, span=1, chain=int(n > 0 and not case.share))
        w.attend(n * act, probability, n * item, raise0="attended")
        w.divide(n * item, raise0="last" if n == case.kv_heads - 1 else 0)
    out.emit("pick", "waits for the last result", a=(case.kv_heads - 1) * item, blocks=item, imm=0,
             index=0, first=1, last=1, take0="last")
    out.emit("wait", rd="none", source="token")
    out.emit("wait", rd="end", source="cycle")
    out.emit("scatter", a=0, blocks=layout.blocks, base=layout.lines["results"])
    out.emit("sync")
    return w.finish()


def select(w, head, act):
    """The pages of a KV head are chosen."""
    case, layout, lines = w.case, w.layout, w.layout.lines
    w.out.emit("walk", f"bounds of KV head {head}", count="pages", head_blocks=layout.head,
               base=lines["bounds"] + head * lines["bounds_stride"], span=1, pattern="bounds")
    w.out.emit("select", act=act, head_blocks=layout.head, columns=layout.columns,
               groups=layout.groups, count="pages", skip=case.skip, recent=case.recent,
               shift=case.share, least=1)


def prefill(layout):
    """Words of a program for all chunks of a prompt; KV heads of a chunk follow each other.

    All chunks have the same queries, and their outputs are added up, so that no mover is in the
    way: in a model both come from and go to matrix products.
    """
    w, case = Writer(layout), layout.case
    out, item, act, heads = w.out, w.item_blocks, w.act_blocks, layout.case.kv_heads
    if layout.chunks % 2:
        raise ValueError(f"buffers in turn need an even number of chunks, not {layout.chunks}")
    # A round of the loop is two chunks. Outputs have twice the room that is counted, so that what
    # was there before is used up whatever the order in which blocks are written and counted.
    items = 2 * heads
    sums, outputs = heads * item, 2 * heads * item
    out.emit("set", "tokens", rd="count", imm=layout.chunk)
    out.emit("set", "tokens behind the last chunk", rd="behind", imm=case.tokens + layout.chunk)
    out.emit("gather", "queries", dst=0, blocks=layout.blocks, base=layout.lines["queries"],
             raise0="loaded")
    out.emit("gather", "zeros", dst=sums, blocks=layout.blocks, base=layout.lines["results"])
    w.quantise(0, 0, layout.blocks, take0="loaded")
    for first in range(0, heads * item, MOST_RAISED):
        out.emit("raise", counter="room", count=min(MOST_RAISED, heads * item - first))
    out.emit("sync")
    out.emit("wait", rd="start", source="cycle")
    out.label("round")
    for n in range(items):
        head, output = n % heads, outputs + n * item
        w.walk(head, span=layout.chunk, chain=1)
        w.attend(head * act, heads * act, output, tokens=1, take1="room", raise0="attended")
        w.divide(output, raise0="done")
        out.emit("sum", dst=sums + head * item, a=output, b=sums + head * item, blocks=item,
                 take0="done", raise1="room")
        if head == heads - 1:
            out.emit("add", "the next chunk", rd="count", ra="count", imm=layout.chunk)
    out.emit("branch", condition="ne", ra="count", rb="behind", target="round")
    out.emit("sync")
    out.emit("wait", rd="end", source="cycle")
    out.emit("scatter", a=sums, blocks=layout.blocks, base=layout.lines["results"])
    out.emit("sync")
    return w.finish()
