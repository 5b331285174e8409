"""What a run cost: as a table for people, and as files."""

import json
from dataclasses import dataclass
from pathlib import Path


__all__ = ["Report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures of one run.

    Parameters
    ----------
    compiled : :class:`sw.compile.compiler.Compiled`
    outcome : :class:`sw.runtime.session.Outcome`
    seconds : float
        Time that the run took here.
    text : str
        Prompt and answer.
    device : str
        ``sim``, ``emulator``, or a board's name.
    """

    compiled: object
    outcome: object
    seconds: float
    text: str
    device: str

    def rows(self):
        """(what, value) for the table."""
        outcome, config = self.outcome, self.compiled.config
        counters, positions = outcome.counters, outcome.positions
        words = {key: counters[f"{key}_words"] for key in "wdg"}
        cycles = counters["cycles"]
        model = self.compiled.model
        rows = [("model", f"{model.name}, {model.format}"),
                ("activations", f"{model.activation}, keys and values {model.kv}, scale rule "
                                f"{model.rule}"),
                ("attention", sees(model)),
                ("machine", f"{config}: {16 * config.slices * config.columns} multipliers, "
                            f"{config.word_bytes} bytes a cycle ({self.device})"),
                ("tokens", f"{self.compiled.task.prompt} of {prompts(self.compiled)}, "
                           f"{len(outcome.tokens)} generated"),
                *shared(self.compiled),
                ("chunks", chunks(self.compiled))]
        if cycles:
            share = {key: f"{100 * counters[key] / cycles:.1f} %"
                     for key in ("busy", "memory", "dependency", "other")}
            moved = sum(words.values()) + counters["written"]
            rows += [
                ("cycles a token", f"{cycles / positions:,.0f}"),
                ("  array busy", share["busy"]),
                ("  waits for memory", share["memory"]),
                ("  waits for a unit", share["dependency"]),
                ("  has nothing to do", share["other"]),
                ("bandwidth used", f"{100 * moved / cycles:.1f} %"),
            ]
        rows += [
            ("bytes a token", f"{config.word_bytes * words['w'] / positions:,.0f} of weights, "
                              f"{config.word_bytes * words['d'] / positions:,.0f} of keys and "
                              "values"),
            *held(self.compiled, counters, positions),
            ("instructions a token", f"{counters['instructions'] / positions:,.0f}"),
            ("speed here", f"{positions / self.seconds:.2f} tokens/s"
                           + (f", {cycles / self.seconds:,.0f} cycles/s" if cycles else "")),
        ]
        if counters["nan_groups"]:
            rows.append(("not a number", f"{counters['nan_groups']:,} groups were quantised with "
                                         "a NaN or an infinity: the answer cannot be trusted"))
        return rows

    def print(self, console):
        """Show the table."""
        width = max(len(what) for what, _ in self.rows())
        for what, value in self.rows():
            console.print(f"{what:{width}s}  {value}", markup=False, highlight=False)

    def write(self, folder):
        """Write ``report.md``, ``report.json``, ``program.txt`` and ``memory.txt``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        table = "\n".join(f"| {what.strip()} | {value} |" for what, value in self.rows())
        (folder / "report.md").write_text(
            f"# {self.compiled.model.name} on {self.compiled.config}\n\n| | |\n|---|---|\n"
            f"{table}\n\n## Text\n\n{self.text}\n")
        (folder / "report.json").write_text(json.dumps({
            "model": self.compiled.model.name, "format": self.compiled.model.format,
            "activation": self.compiled.model.activation, "rule": self.compiled.model.rule,
            "kv": self.compiled.model.kv,
            "config": str(self.compiled.config), "device": self.device,
            "prompt": self.compiled.prompt, "tokens": self.outcome.tokens, "text": self.text,
            "sequences": [{"prompt": list(s.prompt), "tokens": text.tokens, "shared": s.start}
                          for s, text in zip(self.compiled.sequences, self.outcome.texts)],
            "positions": self.outcome.positions, "seconds": self.seconds,
            "counters": self.outcome.counters,
        }, indent=2) + "\n")
        (folder / "program.txt").write_text(self.compiled.listing())
        (folder / "memory.txt").write_text(self.compiled.layout())


def held(compiled, counters, positions):
    """What the cache holds and has given, as rows."""
    if not compiled.task.pin:
        return []
    given = counters["hits"] * compiled.config.beat_bytes / positions
    return [("cache", f"{' and '.join(compiled.task.pin)}; {given:,.0f} bytes a token came from "
                      "it")]


def sees(model):
    """What layers see, as text."""
    shown = {}
    for layer in model.sees:
        text = f"the last {layer.window} tokens" if layer.window else "all tokens"
        if layer.sinks:
            text += f" and the first {layer.sinks}"
        if layer.blocks is not None:
            text += f" and {len(layer.blocks)} blocks"
        if layer.sparse is not None:
            text += f" and 1/{1 << layer.sparse.shift} of pages of {layer.sparse.page}"
        shown[text] = shown.get(text, 0) + 1
    return "; ".join(f"{text} in {count} layers" for text, count in shown.items())


def chunks(compiled):
    """How the prompt passes through the model, as text."""
    task = compiled.task
    if not task.chunks:
        return "none, tokens of the prompt pass one by one"
    shapes = " and ".join(f"{number} of {plan.chunk} tokens" for number, plan
                          in zip(task.chunks, compiled.chunks.plans) if number)
    return f"{shapes}, for {task.passed} of the prompt"


def prompts(compiled):
    number = len(compiled.sequences)
    return "the prompt" if number == 1 else f"{number} prompts"


def shared(compiled):
    """What several sequences have in common, as rows."""
    pool = compiled.task.pool
    if pool is None:
        return []
    return [("shared", f"the first {compiled.sequences[-1].start} tokens of each prompt; "
                       f"{pool.blocks} KV blocks a head instead of {pool.unshared}")]
