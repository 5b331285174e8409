"""Random programs from the command line.

    python -m verif.soak --first 0 --runs 2000
    python -m verif.soak --seed 1234            one, with its program
"""

import argparse
import sys
import time
from dataclasses import replace

from hw import isa
from hw.config import load

from .run import Failure, Soak


def listing(words):
    """Instructions as text."""
    for number, word in enumerate(words):
        try:
            name, values = isa.decode(word)
        except ValueError as error:
            name, values = f"{word:#034x}: {error}", {}
        shown = " ".join(f"{key}={value}" for key, value in values.items() if value)
        print(f"{number:5} {name} {shown}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Run random programs.")
    parser.add_argument("--config", default="nano")
    parser.add_argument("--channels", type=int, help="in place of those of the configuration")
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, help="only this run, with its program")
    options = parser.parse_args(arguments)
    config = load(options.config)
    if options.channels:
        config = replace(config, channels=options.channels)
    seeds = range(options.first, options.first + options.runs)
    if options.seed is not None:
        seeds = [options.seed]
    soak, failed, begin = Soak(config), 0, time.perf_counter()
    for seed in seeds:
        try:
            soak.run(seed)
        except Failure as failure:
            failed += 1
            print(failure, file=sys.stderr)
            # What is left of this run must not judge the next.
            tally = soak.tally
            soak.close()
            soak = Soak(config)
            soak.tally = tally
        if options.seed is not None:
            listing(soak.words)
    print(f"seeds {seeds[0]} to {seeds[-1]} on {options.config}, {soak.device.cycle} cycles, "
          f"{time.perf_counter() - begin:.0f} s: {failed} failed; ends: "
          + ", ".join(f"{count} {name}" for name, count in soak.tally.most_common()))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
