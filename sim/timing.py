"""How the simulated memory behaves: kindly by default, or as badly as AXI allows."""

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from sw.errors import UserError


__all__ = ["Timing", "load_timing"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the memory of each channel does; times in cycles.

    Chances ``..._per_256`` are for each cycle, ``read_errors`` and ``write_errors`` for each word.

    Parameters
    ----------
    latency : int
        From an address to its first data, and from data to the write response.
    latency_spread, latency_tail : int
        More latency for each burst, by chance: 0 to ``latency_spread``, each as likely as the
        others, and a number with the mean ``latency_tail`` of which each is as likely as the one
        before times a constant.
    banks, row_bytes, row_miss : int
        Each of ``banks`` has one row of ``row_bytes`` open; a burst of another row waits
        ``row_miss`` cycles longer, as does what comes to its bank meanwhile. No banks: no rows.
    refresh_every, refresh_for : int
        Nothing is transferred in ``refresh_for`` cycles of each ``refresh_every``, and rows close.
    rate_num, rate_den : int
        Transfers a cycle and channel, as a fraction of at most 1.
    stall_per_256 : int
        Chance that a channel moves no data in a cycle.
    ar_per_256, aw_per_256, w_per_256 : int
        Chance that READY of AR, AW, W is low.
    r_per_256, b_per_256 : int
        Chance that new data on R, a new response on B is not offered.
    data_first : int
        1: an address of a write is accepted only behind its data.
    host_per_256 : int
        Chance that the host, at the registers, does nothing in a cycle: address and data of a
        write come apart, and responses are taken late.
    read_errors, write_errors : int
        Chance in 65536ths that a word is answered with SLVERR or DECERR.
    """

    latency: int = 60
    latency_spread: int = 0
    latency_tail: int = 0
    banks: int = 0
    row_bytes: int = 2048
    row_miss: int = 0
    refresh_every: int = 0
    refresh_for: int = 0
    rate_num: int = 1
    rate_den: int = 1
    stall_per_256: int = 0
    ar_per_256: int = 0
    aw_per_256: int = 0
    w_per_256: int = 0
    r_per_256: int = 0
    b_per_256: int = 0
    data_first: int = 0
    host_per_256: int = 0
    read_errors: int = 0
    write_errors: int = 0

    def __post_init__(self):
        for field in fields(self):
            value, most = getattr(self, field.name), 2**31 - 1
            if field.name.endswith("_per_256"):
                most = 255
            elif field.name.endswith("_errors"):
                most = 65535
            elif field.name == "data_first":
                most = 1
            least = int(field.name in ("row_bytes", "rate_num", "rate_den"))
            if type(value) is not int or not least <= value <= most:
                raise UserError(f"{field.name} of the memory must be {least} to {most}, not "
                                f"{value!r}")
        if self.rate_num > self.rate_den:
            raise UserError(f"the memory moves at most one word a cycle, not {self.rate_num} in "
                            f"{self.rate_den}")
        if self.refresh_every and self.refresh_for >= self.refresh_every:
            raise UserError(f"refresh_for of the memory must be less than refresh_every, not "
                            f"{self.refresh_for} of {self.refresh_every}")

    def __str__(self):
        """What is not as by default, as lines of a file are written."""
        return ", ".join(f"{field.name} = {getattr(self, field.name)}" for field in fields(self)
                         if getattr(self, field.name) != field.default) or "the default"


def load_timing(path):
    """The :class:`Timing` of a TOML file, which has its parameters as keys."""
    try:
        values = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read the memory file {path}: {error}") from None
    known = [field.name for field in fields(Timing)]
    for key in values:
        if key not in known:
            near = get_close_matches(key, known, 1)
            raise UserError(f"the memory file {path} has the key {key!r}, which does not exist"
                            + (f"; did you mean {near[0]!r}?" if near else ""))
    return Timing(**values)
