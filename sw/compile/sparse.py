"""Writes the layers of one token that choose pages: bounds of keys, choices, and attention to them.

docs/compiler.md says why nothing is overwritten while it is read. Two counters of the choice of
tokens rest while layers run, and count here what comes from memory and goes there.
"""

from verif.reference.pattern import BLOCK
from verif.reference.sparse import candidates


__all__ = ["find_sparse", "write_bounds", "write_counts", "write_early", "write_kept",
           "write_parts", "write_select", "write_start_counts"]

#: What the vector unit needs of the mover; what the mover needs of the vector unit.
FROM_MEMORY, TO_MEMORY = "logits", "picked"


def find_sparse(model):
    """What the layers that choose pages see, a :class:`sw.models.attention.Attention`; or None.

    All choose in the same way: registers count their pages.
    """
    found = {sees for sees in model.sees if sees.sparse is not None}
    if len(found) > 1:
        raise ValueError("layers that choose pages must all see the same")
    return found.pop() if found else None


# Once a token

def place(w, page, register, label, condition="ne"):
    """Go to a label unless a register holds a multiple of a page; with ``eq`` if it does."""
    w.out.emit("mul", "its place in the page, in the upper bits", rd="row", ra=register,
               imm=(1 << 32) // page)
    w.out.emit("branch", condition=condition, ra="row", rb="zero", target=label)


def write_start_counts(w):
    """Registers of the pages, before any token."""
    passed, sees = w.task.passed, find_sparse(w.model)
    if sees is not None:
        page = sees.sparse.page
        w.out.emit("set", "number of the page, before its first token", rd="page",
                   imm=(-(-passed // page) - 1) & 0xFFFFFFFF)
        w.out.emit("set", "pages to choose from", rd="pages",
                   imm=candidates(passed, page, sees.window))


def write_counts(w):
    """Registers of the pages, for a token that sees ``count``."""
    sees, out = find_sparse(w.model), w.out
    if sees is None:
        return
    first = sees.window + BLOCK
    place(w, sees.sparse.page, "position", "same_page")
    out.emit("add", "a page begins", rd="page", ra="page", imm=1)
    out.label("same_page")
    out.emit("set", "tokens with which the first page lies before the window", rd="row", imm=first)
    out.emit("branch", condition="lt", ra="count", rb="row", target="same_pages")
    out.emit("add", rd="row", ra="count", imm=-first & 0xFFFFFFFF)
    place(w, sees.sparse.page, "row", "same_pages")
    out.emit("add", "one more to choose from", rd="pages", ra="pages", imm=1)
    out.label("same_pages")


# Once a layer

def write_early(w, kv, number):
    """What does not depend on the token: bounds for the first choice, and of the page so far."""
    write_walk_bounds(w, kv, 0)
    label = f"first_{number}"
    place(w, kv.sees.sparse.page, "position", label, "eq")
    w.gather("largest and smallest keys of the page", w.plan.bounds, 2 * w.model.kv_rows,
             w.line("kv") + kv.running, offset="kv", raise0=FROM_MEMORY)
    w.out.label(label)


def write_parts(w):
    """Positive and negative elements of the queries, in the order in which they choose."""
    model, plan = w.model, w.plan
    q, head = plan.rows + 2 * model.kv_rows, model.head_blocks
    blocks = plan.columns * head
    for n in range(model.q_blocks // blocks):
        for half, sign in enumerate(("positive", "negative")):
            w.quantise(f"{sign} elements of query heads {n * plan.columns}..",
                       dst=plan.parts + (2 * n + half) * head, blocks=blocks, take0=0,
                       raise0="query", per_vector=head, columns=plan.columns, sign=sign,
                       **w.heads_of(q, n * plan.columns))


def write_bounds(w, kv, number):
    """The token's keys are taken into the bounds of their page, which go to memory."""
    out, blocks, at = w.out, w.model.kv_rows, w.plan.bounds
    k, page, label = w.plan.rows, kv.sees.sparse.page, f"{{}}_{number}"
    halves = ("maximum", at), ("minimum", at + blocks)

    place(w, page, "position", label.format("go_on"))
    for name, half in halves:
        out.emit(name, "of a token alone", dst=half, a=k, b=k, blocks=blocks, raise0=TO_MEMORY)
    out.emit("branch", condition="eq", ra="zero", rb="zero", target=label.format("keep"))
    out.label(label.format("go_on"))
    for name, half in halves:
        out.emit(name, "", dst=half, a=k, b=half, blocks=blocks, take1=FROM_MEMORY,
                 raise0=TO_MEMORY)

    place(w, page, "count", label.format("keep"))
    write_scatter(w, kv, raise1="done")
    write_page(w, kv)
    out.emit("branch", condition="eq", ra="zero", rb="zero", target=label.format("kept"))
    out.label(label.format("keep"))
    write_scatter(w, kv)
    out.label(label.format("kept"))


def write_scatter(w, kv, **values):
    w.out.emit("scatter", "bounds of the page so far", a=w.plan.bounds,
               blocks=2 * w.model.kv_rows, base=w.line("kv") + kv.running, offset="kv",
               take0=TO_MEMORY, raise0=FROM_MEMORY, **values)


def write_page(w, kv):
    """The bounds of a whole page are rounded as keys are, and go to memory."""
    out, model, head = w.out, w.model, w.model.head_blocks
    # Attention may still need the token that is staged: then bounds are staged behind it.
    token = int(w.forwards)
    first = 2 * token * model.kv_blocks
    if model.compact:
        # Padded heads have more blocks than were counted.
        out.mark("waits for bounds", 2 * model.kv_rows, take="done")
    for n in range(model.n_kv_heads):
        for half in range(2):
            # What was staged before has been read: the mover was at the bounds behind it.
            w.stage(("largest", "smallest")[half] + f" keys of KV head {n}",
                    dst=first + (2 * n + half) * head, blocks=head, group=1, take0=w.done,
                    **w.heads_of(w.plan.bounds + half * model.kv_rows, n))
    out.emit("append", "bounds of the page", base=w.line("kv") + kv.bounds, offset="kv",
             count="page", heads=kv.heads, head_blocks=head, head_stride=kv.bounds_lines, bounds=1,
             behind=token, kv=model.kv, take0="staged", raise1="unstaged")
    out.emit("multiply", "only to wait until they are read; keys and values were used",
             dst=w.plan.rows, a=w.plan.rows, b=w.plan.rows, blocks=2 * model.kv_blocks,
             take0="unstaged")


def write_kept(w):
    """The bounds of the page so far are in memory before the next token reads them."""
    k = w.plan.rows
    w.out.emit("multiply", "only to wait for what was written", dst=k, a=k, b=k, blocks=1,
               take0=FROM_MEMORY)


def write_walk_bounds(w, kv, head):
    w.out.emit("walk", f"bounds of KV head {head}",
               base=w.line("kv") + kv.bounds + head * kv.bounds_lines, offset="kv", count="pages",
               head_blocks=w.model.head_blocks, span=1, pattern="bounds", kv=w.model.kv)


def write_select(w, kv, number):
    """Query heads that attend together, group ``number`` of them, choose pages."""
    model, plan, sees = w.model, w.plan, kv.sees
    if number:
        # The first walk of a layer was dispatched at its beginning.
        write_walk_bounds(w, kv, number * plan.columns * plan.groups // model.queries)
    w.out.emit("select", f"choice {number}",
               act=plan.parts + 2 * number * plan.groups * model.head_blocks,
               head_blocks=model.head_blocks, columns=plan.columns, groups=plan.groups,
               count="pages", skip=-(-sees.sinks // BLOCK) * BLOCK // sees.sparse.page, recent=0,
               shift=sees.sparse.shift, least=sees.sparse.least, activation=model.activation,
               kv=model.kv, take0="query")
