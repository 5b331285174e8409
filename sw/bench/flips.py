"""Bits of the memories on the die that flip while programs run: what comes of it."""

import sys
from collections import Counter

from sw.bench.row import Row
from sw.errors import UserError
from verif.soak.flips import GROUPS, OUTCOMES, Campaign


__all__ = ["rows", "measure"]


def rows(config, flips=250, seed=0, bits=1, memories=""):
    """One :class:`Row` for each group of memories.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    flips : int
        In each group.
    seed : int
        Of programs and flips.
    bits : int
        Inverted at once, in one word.
    memories : str
        Names of groups, with commas between; all if it is empty.
    """
    groups = memories.split(",") if memories else list(GROUPS)
    for group in groups:
        if group not in GROUPS:
            raise UserError(f"there are no memories {group!r}; there are {', '.join(GROUPS)}")
    if flips < 1 or bits < 1:
        raise UserError("the numbers of flips and of bits must be at least 1")
    command = (f"tokamac bench flips --config {config} --flips {flips} --seed {seed} --bits {bits}"
               + f" --memories {memories}" * bool(memories))
    campaign = Campaign(config, seed=seed)
    try:
        for group in groups:
            if campaign.bits(group):
                yield measure(campaign, group, flips, bits, seed, command)
    finally:
        campaign.close()


def measure(campaign, group, flips, bits, seed, command):
    """The :class:`Row` of a group."""
    campaign.left.clear()
    found = Counter()
    for flip in campaign.flips(group, flips, bits, seed):
        outcome = campaign.run(flip)
        found[outcome] += 1
    for flip, what in campaign.left:
        print(f"after {flip}: {what}", file=sys.stderr)
    return Row(case=group, config=str(campaign.config), command=command,
               correct=not campaign.left,
               more={"memory_bits": campaign.bits(group), "filled": campaign.filled(group),
                     "flips": found.total(), **{name: found[name] for name in OUTCOMES}})
