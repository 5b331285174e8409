"""The blocks that have a bench, found by looking: every module ``verif/test_<block>.py``.

A new bench needs no entry anywhere. Its module has, besides its cocotb tests:

``CONFIGS``
    dict of label -> dict of plain values (what JSON carries): the geometries to test.
``component(config)``
    Makes the component to test of one of these dicts.
``SIMULATORS``, if not every configuration is to run on both
    tuple of simulator names, or dict of label -> tuple for the labels that differ. Large
    configurations run on ``("verilator",)`` alone.

For example, ``verif/test_dot.py``::

    CONFIGS = {
        "one_lane":   dict(lanes=1, max_length=4),
        "four_lanes": dict(lanes=4, max_length=64),
    }

    def component(config):
        return Dot(DotConfig(**config))

    config = DotConfig(**current(CONFIGS))       # verif.bench.current: the one that is running

    @cocotb.test()
    async def matches_reference(dut):
        ...

``tests/test_hw_blocks.py`` runs every configuration on every simulator, and
``make sim BLOCK=dot CONFIG=one_lane SIM=icarus WAVES=1`` one of them. The name of the top module
is the block's. Benches in sub-packages of ``verif`` are found too.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path

from verif.runner import SIMULATORS, run_bench


__all__ = ["Case", "blocks", "cases"]


@dataclass(frozen=True)
class Case:
    """One bench with one of its configurations on one simulator.

    Parameters
    ----------
    block, label, simulator : str
        Names of the block, of the configuration and of the simulator.
    """

    block: str
    label: str
    simulator: str

    def __str__(self):
        return f"{self.block}-{self.label}-{self.simulator}"

    @property
    def config(self):
        """The configuration, as the bench's module has it."""
        return bench_module(self.block).CONFIGS[self.label]

    def component(self):
        """A new component of this configuration."""
        return bench_module(self.block).component(self.config)

    def run(self, **options):
        """Run the bench; ``options`` are those of :func:`verif.runner.run_bench`."""
        return run_bench(self.block, self.component(), self.simulator, config=self.config,
                         test_module=blocks()[self.block], **options)


def blocks():
    """Block name -> name of its bench's module, sorted."""
    root = Path(__file__).parent
    found = {}
    for path in sorted(root.rglob("test_*.py")):
        module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        name = path.stem.removeprefix("test_")
        if name in found:
            raise ValueError(f"two benches are named {name}: {found[name]} and {module}")
        found[name] = module
    return found


def bench_module(block):
    found = blocks()
    if block not in found:
        raise ValueError(f"there is no block {block!r}; blocks: {', '.join(found)}")
    return importlib.import_module(found[block])


def cases(block):
    """All cases of a block: each configuration on each simulator that its bench names."""
    module = bench_module(block)
    for name in ("CONFIGS", "component"):
        if not hasattr(module, name):
            raise ValueError(f"{module.__name__} has no {name}")
    chosen = getattr(module, "SIMULATORS", SIMULATORS)
    if isinstance(chosen, dict):
        unknown = set(chosen) - set(module.CONFIGS)
        if unknown:
            raise ValueError(f"{module.__name__}: SIMULATORS names no configuration: {unknown}")
        return [Case(block, label, simulator) for label in module.CONFIGS
                for simulator in chosen.get(label, SIMULATORS)]
    return [Case(block, label, simulator) for label in module.CONFIGS for simulator in chosen]
