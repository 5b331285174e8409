# amaranth: UnusedElaboratable=no
"""``tokamac run``: a model writes on a device."""

import time
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from sw.arguments import (
    Activations,
    BlockList,
    ChunkSize,
    ConfigChoice,
    FormatChoice,
    GlobalEvery,
    KeysAndValues,
    ModelFile,
    PageSize,
    Pinned,
    Prompts,
    ScaleRule,
    Share,
    Sinks,
    Window,
)


#: The first one that has all formats is the default.
DEFAULTS = ("sim", "formats")


def command(
    model: ModelFile = "bundled",
    prompt: Prompts = ("Once upon a time",),
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 56,
    config: ConfigChoice = None,
    format: FormatChoice = None,
    quantiser: Annotated[str, typer.Option(
        help="How weights are rounded: nearest, or gptq, which looks at a text to keep the values "
             "of products; that takes a while the first time.")] = "nearest",
    calibration: Annotated[Path | None, typer.Option(
        help="Text for gptq; by default the model writes one.")] = None,
    activations: Activations = "int8",
    scale_rule: ScaleRule = "floor",
    kv: KeysAndValues = "int8",
    window: Window = None,
    sinks: Sinks = 0,
    global_every: GlobalEvery = None,
    blocks: BlockList = None,
    sparse: Share = None,
    page: PageSize = None,
    chunk: ChunkSize = None,
    pin: Pinned = "none",
    check: Annotated[bool, typer.Option(
        "--check", help="Compare all logits, keys and values with the reference.")] = False,
    temperature: Annotated[float, typer.Option(
        help="0 takes the likeliest token; 1 draws from the model's distribution.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 0,
    tokenizer: Annotated[Path | None, typer.Option(
        help="Tokenizer file; by default the one beside the model.")] = None,
    device: Annotated[str, typer.Option(
        help="sim (the generated hardware, simulated), emulator (numpy), or a board: "
             "serial:PORT, serial:PORT@BAUD.")] = "sim",
    latency: Annotated[int, typer.Option(help="Of the simulated memory, in cycles.")] = 60,
    memory: Annotated[Path | None, typer.Option(
        help="TOML file that says how the simulated memory behaves (docs/simulator.md).")] = None,
    waves: Annotated[Path | None, typer.Option(
        help="Record every signal into this .fst file, with a GTKWave save file beside it; a "
             "run of a few tokens already fills gigabytes on large machines.")] = None,
    report: Annotated[Path | None, typer.Option(
        help="Directory for a report, the program and the memory map.")] = None,
):
    """Generate text with a model, and show what it cost."""
    from rich.console import Console

    from sw.report import Report
    from sw.runtime.session import Session
    from sw.runtime.verify import Verifier

    console = Console(highlight=False, soft_wrap=True)
    compiled, words = compile_choice(model, prompt, tokens, config, format, check=check,
                                     temperature=temperature, seed=seed, tokenizer=tokenizer,
                                     activation=activations, rule=scale_rule, kv=kv,
                                     quantiser=quantiser, calibration=calibration,
                                     sees=(window, sinks, global_every, blocks, sparse, page),
                                     chunk=chunk, pin=pin)
    machine = open_device(device, compiled, latency, waves, memory)
    session = Session(machine, compiled)
    verifier = Verifier(machine, compiled) if check else None
    start = time.perf_counter()
    text = write_texts(session, words)
    seconds = time.perf_counter() - start
    summary = Report(compiled=compiled, outcome=session.outcome, seconds=seconds, text=text,
                     device=device)
    if verifier is not None:
        console.print(f"check: {verifier.verify(session.outcome)}", markup=False)
    summary.print(console)
    if report is not None:
        summary.write(report)
    if waves is not None:
        finish_waves(machine, waves)


def compile_choice(model, prompt, tokens, config, format, *, check=False, temperature=0.0, seed=0,
                   tokenizer=None, activation="int8", rule="floor", kv="int8", quantiser="nearest",
                   calibration=None, sees=(None, 0, None, None), chunk=None, pin="none"):
    """The compiled task of a command line, and its tokenizer.

    ``prompt`` has a text for each sequence, ``sees`` what
    :func:`sw.models.attention.choose_attention` takes.
    """
    from dataclasses import replace
    from math import isfinite

    from hw.config import load as load_config
    from hw.formats import ACTIVATIONS, KV, named
    from sw.calibrate import choose
    from sw.compile.compiler import compile_model
    from sw.compile.pinning import parse_pins
    from sw.compile.program import Sampling
    from sw.errors import UserError
    from sw.models import load
    from sw.models.attention import choose_attention
    from sw.models.bundled import model_path
    from sw.tokenizer import Tokenizer

    try:
        if format is not None:
            named(format)
    except ValueError as error:
        raise UserError(str(error)) from None
    for name, names, what in ((activation, ACTIVATIONS, "activations"),
                              (kv, KV, "keys and values")):
        if name not in names:
            raise UserError(f"{what} must be one of {', '.join(names)}, not {name!r}")
    if not isfinite(temperature) or temperature < 0:
        raise UserError(f"the temperature must be zero or positive, not {temperature}")
    if not 0 <= seed < 2**64:
        raise UserError(f"the seed must be 0 to 2^64 - 1, not {seed}")
    pinned = parse_pins(pin)
    chosen = None if config is None else load_config(config)
    path = model_path(model)
    loaded = load(path)
    asked = choose_attention(len(loaded.layers), *sees, given=loaded.attention)
    if asked:
        loaded = replace(loaded, attention=asked)
    if chosen is None:
        formats = loaded.formats(format)
        having = (load_config(name) for name in DEFAULTS)
        chosen = next((one for one in having if has(one, formats, activation, kv)),
                      load_config(DEFAULTS[-1]))
    words = Tokenizer.beside(path, loaded.vocabulary, tokenizer)

    def calibrate(model):
        with show_progress(quantiser != "nearest") as show:
            return choose(quantiser, model, format, words, rule=rule, calibration=calibration,
                          show=show)

    compiled = compile_model(loaded, chosen, [words.encode(one) for one in prompt], tokens,
                             format=format, activation=activation, rule=rule, kv=kv,
                             sampling=Sampling(temperature=temperature, seed=seed), check=check,
                             calibrate=calibrate, chunk=chunk, pin=pinned)
    for note in compiled.model.notes:
        typer.echo(f"note: {note}", err=True)
    return compiled, words


@contextmanager
def show_progress(wanted):
    """A function that shows a line on a terminal in place of the last one; or nothing."""
    from rich.console import Console

    if not wanted:
        yield None
        return
    with Console(stderr=True).status("") as status:
        yield status.update


def has(config, formats, activation, kv):
    """Whether a machine has these number formats."""
    return (formats <= set(config.formats) and activation in config.activations
            and kv in config.kv)


def open_device(choice, compiled, latency, waves=None, memory=None):
    """The device of this name, with enough memory."""
    from sw.errors import UserError

    if choice == "emulator":
        from sw.runtime.emulator import Emulator
        if waves is not None:
            raise UserError("the emulator has no signals to record; waves need --device sim")
        if memory is not None:
            raise UserError("the emulator has no time; --memory needs --device sim")
        return Emulator(compiled.config, memory_bytes=compiled.memory.bytes)
    if choice.startswith("serial:"):
        from sw.runtime.serial_device import SerialDevice, open_port
        if waves is not None or memory is not None:
            raise UserError("a board's signals cannot be recorded, nor its memory be chosen; "
                            "--waves and --memory need --device sim")
        return SerialDevice(compiled.config, open_port(choice.removeprefix("serial:")),
                            memory_bytes=compiled.memory.bytes)
    if choice == "sim":
        from sim.device import SimulatedDevice
        from sim.timing import Timing, load_timing
        timing = Timing(latency=latency) if memory is None else load_timing(memory)
        typer.echo(f"preparing the simulated machine {compiled.config}; it is built once, which "
                   "takes minutes", err=True)
        return SimulatedDevice(compiled.config, memory_bytes=compiled.memory.bytes,
                               timing=timing, waves=waves)
    raise UserError(f"the device must be sim, emulator or serial:PORT, not {choice!r}")


def finish_waves(machine, path):
    """End the recording, and write a GTKWave save file that shows the core's streams."""
    from hw.core import Core
    from verif.waves import top_ports, write_save_file

    machine.close()
    save = path.with_suffix(".gtkw")
    write_save_file(save, path.resolve(), "TOP.tokamac.core", top_ports(Core(machine.config)))
    typer.echo(f"waves: gtkwave {save}")


def write_texts(session, tokenizer):
    """Print the text of each sequence as it comes, and return all."""
    tokens, sequences, texts = session.tokens(), session.compiled.sequences, []
    for number, sequence in enumerate(sequences):
        if len(sequences) > 1:
            texts.append(f"[{number + 1} of {len(sequences)}]\n")
            typer.echo(texts[-1], nl=False)
        texts.append(write_text(sequence.prompt, tokens, tokenizer) + "\n\n")
    # The run ends behind the last text.
    for _ in tokens:
        pass
    return "".join(texts).rstrip("\n")


def write_text(prompt, tokens, tokenizer):
    """Print a prompt and what comes, up to None, and return it."""
    from codecs import getincrementaldecoder

    decoder = getincrementaldecoder("utf-8")(errors="replace")
    previous, parts = None, []
    for token in chain(prompt, iter(lambda: next(tokens, None), None)):
        parts.append(decoder.decode(tokenizer.piece(previous, token)))
        previous = token
        typer.echo(parts[-1], nl=False)
    parts.append(decoder.decode(b"", final=True))
    typer.echo(parts[-1] + "\n")
    return "".join(parts)
