"""``tokamac sim``: the cocotb bench of one block."""

import time
from typing import Annotated

import typer


def command(
    block: Annotated[str, typer.Argument(help="Block; without one, all are listed.")] = "",
    simulator: Annotated[str, typer.Option(
        "--simulator", "-s", help="verilator or icarus.")] = "verilator",
    config: Annotated[str, typer.Option(
        help="One of the bench's configurations; all of them if not given.")] = "",
    waves: Annotated[bool, typer.Option(
        "--waves", help="Record every signal, and write a GTKWave save file.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the bench's random numbers.")] = None,
    testcase: Annotated[str | None, typer.Option(help="Run only this test.")] = None,
):
    """Run the cocotb bench of a block on Verilator or Icarus."""
    from sw.errors import UserError
    try:
        from verif.blocks import blocks, cases
        from verif.runner import ROOT, SIMULATORS, BenchFailure
    except ModuleNotFoundError as error:
        raise UserError(f"simulating blocks needs the package {error.name}: "
                        "pip install -e '.[test]'") from error

    if not block:
        for name in blocks():
            labels = list(dict.fromkeys(case.label for case in cases(name)))
            typer.echo(f"{name:<24} {' '.join(labels)}")
        return
    if simulator not in SIMULATORS:
        raise UserError(f"the simulator must be {' or '.join(SIMULATORS)}, not {simulator!r}")
    if block not in blocks():
        raise UserError(f"there is no block {block!r}; there are {', '.join(blocks())}")
    labels = list(dict.fromkeys(case.label for case in cases(block)))
    if config and config not in labels:
        raise UserError(f"{block} has no configuration {config!r}; it has {', '.join(labels)}")
    chosen = [case for case in cases(block)
              if case.simulator == simulator and config in ("", case.label)]
    if not chosen:
        raise UserError(f"the bench of {block} does not run this on {simulator}")
    for case in chosen:
        run_dir = ROOT / "build" / "runs" / str(case)
        start = time.perf_counter()
        try:
            passed = case.run(run_dir=run_dir, waves=waves, seed=seed, testcase=testcase)
        except BenchFailure as failure:
            raise UserError(str(failure)) from failure
        typer.echo(f"{case}: {passed} passed in {time.perf_counter() - start:.1f} s")
        shown = run_dir.relative_to(ROOT)
        typer.echo(f"  log    {shown / 'simulation.log'}")
        if waves:
            typer.echo(f"  waves  gtkwave {shown / (block + '.gtkw')}")
