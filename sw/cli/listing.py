"""``tokamac listing``: the program of a model, in words."""

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


def command(
    model: ModelFile = "bundled",
    config: ConfigChoice = None,
    format: FormatChoice = None,
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
    prompt: Prompts = ("Once upon a time",),
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 64,
    check: Annotated[bool, typer.Option(
        "--check", help="The variant that writes all logits to memory.")] = False,
):
    """Print the program that a model is compiled to, and its memory map."""
    from .run import compile_choice

    compiled, _ = compile_choice(model, prompt, tokens, config, format, check=check,
                                 activation=activations, rule=scale_rule, kv=kv,
                                 sees=(window, sinks, global_every, blocks, sparse, page),
                                 chunk=chunk, pin=pin)
    typer.echo(compiled.layout())
    typer.echo(compiled.listing(), nl=False)
