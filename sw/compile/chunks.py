"""Which chunks prompts pass in: the fastest by an estimate come first."""

from dataclasses import dataclass

from .chunk_shape import (
    MOST_GROUPS,
    ChunkPlan,
    chunk_plan,
    pieces_of,
    repeats,
    splits,
    whole_lines,
)
from .estimate import alone_cycles
from .layers import matrices_of


__all__ = ["Chunks", "chunk_plans"]

#: Shapes that are considered for the last chunk beside one for all others.
MOST_RESTS = 3


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """What prompts pass in: chunks of one shape, and a last one of another.

    Parameters
    ----------
    main : :class:`ChunkPlan`
    rest : :class:`ChunkPlan` or None
    covers : bool
        The last token of a prompt may be in a chunk: the weights of the last layer begin at a line,
        and can be read alone.
    alone, finish : float
        About so many cycles a token takes that passes alone, and the last layer of one.
    """

    main: ChunkPlan
    rest: ChunkPlan | None
    covers: bool
    alone: float
    finish: float

    @property
    def plans(self):
        """All shapes."""
        return (self.main,) if self.rest is None else (self.main, self.rest)

    @property
    def most(self):
        """Tokens of the largest chunk."""
        return max(plan.chunk for plan in self.plans)

    def cut(self, prompt, context):
        """``(chunks, cycles)`` of a prompt of so many tokens: how many there are of each shape, and
        about how long it takes.

        The last one may be filled up with tokens that nobody sees, if that is sooner done than one
        token after the other, and if there are positions for them.
        """
        tokens, found = prompt - (not self.covers), []
        for number in (tokens // self.main.chunk, -(-tokens // self.main.chunk)):
            for rest in range(1 if self.rest is None else 2):
                counts = (number, rest)[:len(self.plans)]
                filled = sum(n * plan.chunk for n, plan in zip(counts, self.plans))
                if filled > context or number * self.main.chunk >= tokens and rest:
                    continue
                cycles = sum(n * plan.cycles for n, plan in zip(counts, self.plans))
                if self.covers and filled >= prompt:
                    cycles += self.finish
                else:
                    cycles += max(1, prompt - filled) * self.alone
                found.append((cycles, filled, counts))
        cycles, _, counts = min(found)
        return counts, cycles


def chunk_plans(model, config, plan, prompt, most=None):
    """:class:`Chunks` that fit, the fastest first; ``most`` bounds the tokens of a chunk."""
    if any(sees.blocks is not None or sees.sparse is not None for sees in model.sees):
        # What a list makes visible depends on the last token of a walk, and tokens choose pages one
        # by one.
        return []
    covers = whole_lines(matrices_of(model.layers[:-1]), config)
    most = min(prompt - (not covers), most or prompt)
    matrices = matrices_of(model.layers)
    groups = range(1, 1 + (MOST_GROUPS if all(repeats(m, config) for m in matrices) else 1))
    parts = range(1, 1 + (2 if all(whole_lines([matrix], config) for matrix in matrices) else 1))
    ways = dict(split=all(splits(layer.kvq, model, config) for layer in model.layers))
    pieces = pieces_of(model, config)

    def plan_of(columns, groups, parts):
        if columns and 1 < columns * groups * parts <= most:
            for number, ring in pieces:
                found = chunk_plan(model, config, plan, columns, groups, parts, pieces=number,
                                   ring=ring, prompt=prompt, **ways)
                if found is not None:
                    return found
        return None

    mains = [plan_of(min(config.columns, most // p), g, p) for p in parts for g in groups]
    alone = alone_cycles(model, config)
    pairs = []
    for main in filter(None, mains):
        left = prompt % main.chunk
        rests = [plan_of(min(config.columns, -(-left // (p * g))), g, p)
                 for p in parts for g in groups if p * g <= left]
        some = []
        for rest in (None, *(rest for rest in rests if rest and rest.chunk < main.chunk)):
            chunks = Chunks(main=main, rest=rest, covers=covers, alone=alone,
                            finish=alone / len(model.layers))
            counts, cycles = chunks.cut(prompt, model.context)
            if counts[0] and (rest is None or counts[1]):
                some.append((cycles, -chunks.most, len(counts), chunks))
        some.sort(key=lambda item: item[:3])
        pairs += [item for n, item in enumerate(some)
                  if n < MOST_RESTS or item[3].rest is None]
    return [chunks for *_, chunks in sorted(pairs, key=lambda item: item[:3])]
