"""Cycles of the machine that the simulator runs in a second."""

import time

from sw.bench.row import Row
from sw.compile.compiler import compile_model
from sw.models import load
from sw.models.bundled import model_path
from sw.runtime.session import Session


__all__ = ["rows"]


#: Cycles a second that make the simulated machine pleasant to use.
WANTED = 100_000


def rows(config):
    """One :class:`Row`: the bundled model decoding, on one core of this machine."""
    from sim.build import build
    from sim.device import SimulatedDevice

    start = time.perf_counter()
    build(config)
    build_seconds = time.perf_counter() - start
    model = load(model_path("bundled"))
    format = "int4" if "int4" in config.formats else config.formats[0]
    compiled = compile_model(model, config, [1], 8, format=format)
    with SimulatedDevice(config, memory_bytes=compiled.memory.bytes) as device:
        session = Session(device, compiled)
        start, first = time.process_time(), device.cycle
        for _ in session.tokens():
            pass
        seconds = time.process_time() - start
        cycles = device.cycle - first
    yield Row(case="bundled model, 8 tokens", config=config.name, cycles=cycles,
              command=f"tokamac bench simulator --config {config.name}",
              more={"cycles_a_second": round(cycles / seconds), "wanted": WANTED,
                    "seconds": round(seconds, 2), "build_seconds": round(build_seconds, 1)})
