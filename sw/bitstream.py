"""From a board and a configuration to a bitstream, in numbered steps."""

import hashlib
import importlib.metadata
import json
import time
from dataclasses import dataclass
from pathlib import Path

from fpga.board_top import prepare
from fpga.link.protocol import CHECK_HASH
from sw.area import resources
from sw.errors import UserError
from sw.files import write_whole
from sw.fit import refuse as refuse_size
from sw.fit import refuse_cells
from sw.fpga_tools import Progress, Tool, expected_seconds, slowest_clock, utilisation
from sw.synthesis import logged, run_yosys


__all__ = ["Job", "refuse"]

#: Family -> (place and route, packer, ending of the bitstream, options of the packer to leave out
#: with their values).
FLOWS = {
    "ecp5": ("nextpnr-ecp5", "ecppack", "bit", ("--svf",)),
    "ice40": ("nextpnr-ice40", "icepack", "bin", ()),
}

#: Family -> options of place and route for large designs. Router 1, which is nextpnr's choice,
#: takes hours for a machine, router 2 minutes; and timing needs more weight.
LARGE = {"ecp5": ("--router", "router2", "--placer-heap-timingweight", "30",
                  "--placer-heap-critexp", "3")}

#: Lines of a failed tool's log that the user sees.
SHOWN = 5


def refuse(board, config):
    """Refuse, before anything is built, what cannot work on the board.

    ``config`` is None for the check design. Returns what the user should know of what is not
    refused; often nothing.
    """
    if config is None:
        return ""
    if board.family == "ice40":
        raise UserError(f"{board.title} is too small for a machine; --check builds the design that "
                        "tests its cable and memory")
    if config.technology == "ecp5" and board.family != "ecp5":
        raise UserError(f"{config} uses multiplier blocks of the ECP5, which {board.title} does "
                        'not have: choose a configuration without technology = "ecp5"')
    return refuse_size(board, config)


@dataclass
class Job:
    """One bitstream.

    Parameters
    ----------
    board : :class:`fpga.boards.Board`
    config : :class:`hw.config.Config` or None
        Of the machine; None for the check design.
    folder : Path
        Where the bitstream and ``bitstream.json`` go; below it, ``work`` has what tools read and
        write, and their logs.
    seed : int
        Of the placer.
    allow_slow : bool
        Make the bitstream even if its clock is too fast for it.
    say : callable
        Is given a line for the user at the end of each step.
    status : callable
        Is given a few words on what is going on, often.
    """

    board: object
    config: object
    folder: Path
    seed: int = 1
    allow_slow: bool = False
    say: object = print
    status: object = lambda words: None

    @property
    def work(self):
        return self.folder / "work"

    def plan(self, **overrides):
        """What is built, as :func:`fpga.board_top.prepare` gives it."""
        return prepare(self.board, self.config, **overrides)

    def run(self):
        """Build; returns the path of the bitstream, or of the project's folder."""
        note = refuse(self.board, self.config)
        if note:
            self.say(f"Note: {note}")
        if self.board.family not in FLOWS:
            return self._project()
        place, pack, ending, left_out = FLOWS[self.board.family]
        place, pack = Tool(place), Tool(pack)

        self._begin(1, "Verilog")
        plan = self.plan(verbose=True, nextpnr_opts=[
            "--seed", str(self.seed), "--report", "report.json", "--timing-allow-fail",
            *LARGE.get(self.board.family, ())])
        self._write(plan)
        self._end(f"{sum(map(len, plan.files.values())) / 1e6:.1f} MB")

        self._begin(2, "synthesis")
        script = [line.strip() for line in self._text(plan, "top.ys").splitlines()]
        script = [line for line in script if line and line[0] != "#"]
        run_yosys("\n".join([*script, "tee -q -o cells.json stat -json", ""]),
                  self.work / "synthesis.log", shown=SHOWN)
        statistics = json.loads((self.work / "cells.json").read_text())
        luts = lookup_tables(statistics)
        if self.config is not None:
            refuse_cells(self.board, self.config,
                         resources(statistics["design"]["num_cells_by_type"]))
        self._end(f"{luts:,} lookup tables")

        self._begin(3, "place and route")
        expected = minutes(expected_seconds(luts, place.native))
        self.say(f"{self._title} with {place.version}, about {expected} on an idle core")
        _, (_, *placing), (_, *packing) = json.loads(self._text(plan, "build_top.json"))[
            "commands"][:3]
        logged([place.command, *placing], self.work / "place_and_route.log", folder=self.work,
               watch=Progress(lambda words: self.status(f"{self._title}: {words}")), shown=SHOWN)
        report = json.loads((self.work / "report.json").read_text())
        used = utilisation(report)
        self._end(", ".join(f"{name} {count:,} of {most:,} ({100 * count / most:.0f} %)"
                            for name, (count, most) in used.items()))

        self._begin(4, "timing")
        # All clocks of a system have the same rate.
        reached, wanted = slowest_clock(report), self.board.core_hz / 1e6
        self._end(f"the clock may have {reached:.1f} MHz, and has {wanted:g} MHz")
        if reached < wanted and not self.allow_slow:
            raise UserError(
                f"timing is not met: {wanted:g} MHz are wanted, {reached:.1f} MHz were reached; "
                "try another --seed, or a slower --clock, or take it as it is with --allow-slow, "
                "which often works at room temperature and may compute wrong results")

        self._begin(5, "bitstream")
        made = f"top.{ending}"
        logged([pack.command, *without(packing, left_out)], self.work / "pack.log",
               folder=self.work, shown=SHOWN)
        data = (self.work / made).read_bytes()
        path = self.folder / f"{self.board.name}.{ending}"
        write_whole(path, data)
        sha = hashlib.sha256(data).hexdigest()
        write_whole(self.folder / "bitstream.json", json.dumps({
            **self._what(), "bitstream": path.name, "sha256": sha, "bytes": len(data),
            "clock_mhz": wanted, "fmax_mhz": round(reached, 2), "met": reached >= wanted,
            "utilisation": {name: {"used": count, "available": most}
                            for name, (count, most) in used.items()},
            "tools": {"amaranth": importlib.metadata.version("amaranth"),
                      "yosys": f"pyosys {importlib.metadata.version('pyosys')}",
                      "place_and_route": place.version, "pack": pack.version},
        }, indent=2) + "\n")
        self._end(f"{path}, {len(data):,} bytes, SHA-256 {sha[:16]}...")
        return path

    def _project(self):
        """Files for a vendor's tools."""
        self._begin(1, "project", 1)
        plan = self.plan()
        self._write(plan)
        write_whole(self.folder / "bitstream.json", json.dumps(self._what(), indent=2) + "\n")
        self._end(f"{self.work}: {', '.join(plan.files)}")
        self.say(f"Go on with Vivado: cd {self.work} && sh {plan.script}.sh")
        return self.work

    def _what(self):
        """What a bitstream is of."""
        board, config = self.board, self.config
        return {
            "board": board.name, "device": board.device, "seed": self.seed,
            "design": "check" if config is None else "machine",
            "config": None if config is None else config.name,
            "hash": f"{CHECK_HASH if config is None else config.hash:#010x}",
            "memory_bytes": board.memory_bytes, "baud": board.baud, "core_hz": board.core_hz,
        }

    def _begin(self, number, title, steps=5):
        self._started, self._title = time.monotonic(), f"[{number}/{steps}] {title}"
        self.status(self._title)

    def _end(self, told):
        seconds = time.monotonic() - self._started
        self.say(f"{self._title} ({seconds:.0f} s){': ' if told else ''}{told}")

    def _write(self, plan):
        for name, content in plan.files.items():
            write_whole(self.work / name, content)

    @staticmethod
    def _text(plan, name):
        content = plan.files[name]
        return content if isinstance(content, str) else content.decode()


def lookup_tables(statistics):
    """Lookup tables of a netlist, from Yosys' statistics of it."""
    cells = statistics["design"]["num_cells_by_type"]
    return cells.get("SB_LUT4", 0) + resources(cells)["LUT"]


def minutes(seconds):
    """A time in words."""
    if seconds < 90:
        return f"{10 * max(1, round(seconds / 10))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def without(arguments, options):
    """Arguments of a program without some options and their values."""
    kept, rest = [], list(arguments)
    while rest:
        one = rest.pop(0)
        if one in options:
            rest.pop(0)
        else:
            kept.append(one)
    return kept
