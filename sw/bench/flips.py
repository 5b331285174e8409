"""Bits of the memories on the die that flip while programs run: what comes of it."""

import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace

from sw.bench.row import Row
from sw.errors import UserError
from verif.soak.flips import GROUPS, OUTCOMES, PROTECTED, Campaign


__all__ = ["rows", "measure"]


def rows(config, flips=250, seed=0, bits=1, memories=""):
    """Two :class:`Row` for each group of memories: without check bits, and of a machine with them.

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
    plain, checked = (replace(config, ecc=ecc) for ecc in (0, 1))
    with (closing(Campaign(plain, seed=seed)) as without, closing(Campaign(checked, seed=seed)) as
          protected):
        for group in groups:
            for campaign in (without, protected):
                if campaign.bits(group):
                    yield measure(campaign, group, flips, bits, seed, command)


def measure(campaign, group, flips, bits, seed, command):
    """The :class:`Row` of a group. It is wrong if a run leaves something behind, or if check bits
    do not do what they are for."""
    campaign.left.clear()
    found = Counter()
    for flip in campaign.flips(group, flips, bits, seed):
        outcome = campaign.run(flip)
        found[outcome] += 1
        if (campaign.config.ecc and bits <= PROTECTED.get(group, 0)
                and outcome not in ("masked", "corrected" if bits == 1 else "detected")):
            campaign.left.append((flip, outcome))
    for flip, what in campaign.left:
        print(f"after {flip}: {what}", file=sys.stderr)
    return Row(case=group, config=str(campaign.config), command=command,
               correct=not campaign.left,
               more={"ecc": "on" if campaign.config.ecc else "off",
                     "memory_bits": campaign.bits(group), "filled": campaign.filled(group),
                     "flips": found.total(), **{name: found[name] for name in OUTCOMES}})
