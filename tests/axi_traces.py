"""Wires of the buses, driven by hand before the monitor that every simulation has."""

import ctypes

from sim.build import build_monitor


__all__ = ["BURST", "BYTES", "OUTSTANDING", "Trace"]

#: Of the machine that the traces are of: bytes of a word, longest burst, bursts in flight.
BYTES, BURST, OUTSTANDING = 4, 16, 4


def bind():
    library = ctypes.CDLL(str(build_monitor()))
    pointer, u64, i32, text = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("trace_new", pointer, [i32] * 3), ("trace_free", None, [pointer]),
        ("trace_window", None, [pointer, u64, u64]), ("trace_set", i32, [pointer, text, u64]),
        ("trace_cycle", None, [pointer, i32, i32]), ("trace_rests", i32, [pointer]),
        ("trace_problem", text, [pointer]), ("trace_rules", text, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Trace:
    """A channel ``m`` and the registers ``s``, cycle by cycle; it begins behind a reset.

    Wires keep their values, but for VALID and READY, which are high only in the cycles that name
    them: ``trace.cycle("arvalid arready", araddr=64)``.
    """

    def __init__(self):
        self.library = bind()
        self.trace = self.library.trace_new(BYTES, BURST, OUTSTANDING)
        for kind in ("ar", "aw"):
            self.set(**{f"{kind}size": 2, f"{kind}burst": 1, f"{kind}cache": 3})
        self.set(wstrb=15, rlast=1, wlast=1)
        self.high = []
        self.cycle(reset=True)
        self.cycle(reset=True)

    def close(self):
        self.library.trace_free(self.trace)

    def set(self, **wires):
        for name, value in wires.items():
            name = name if name.startswith("s_") else f"m_{name}"
            assert self.library.trace_set(self.trace, name.encode(), value), f"no wire {name}"

    def cycle(self, high="", *, reset=False, ended=False, **wires):
        """One cycle with these wires high."""
        for name in self.high:
            self.set(**{name: 0})
        self.high = high.split()
        self.set(**wires, **dict.fromkeys(self.high, 1))
        self.library.trace_cycle(self.trace, reset, ended)

    def read(self, words=1, **wires):
        """A request that is accepted at once."""
        self.cycle("arvalid arready", arlen=words - 1, **wires)

    def data(self, last=1, **wires):
        """A word that is read."""
        self.cycle("rvalid rready", rlast=last, **wires)

    def write(self, **wires):
        """A write of a word, accepted at once."""
        self.cycle("awvalid awready wvalid wready", awlen=0, wlast=1, **wires)

    def answer(self, **wires):
        """Its response."""
        self.cycle("bvalid bready", **wires)

    @property
    def rules(self):
        """Names of the broken rules."""
        return set(self.library.trace_rules(self.trace).decode().split())

    @property
    def problem(self):
        """The first broken rule, as a sentence."""
        return self.library.trace_problem(self.trace).decode()

    @property
    def rests(self):
        return bool(self.library.trace_rests(self.trace))
