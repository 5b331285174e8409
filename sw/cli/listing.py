"""``tokamac listing``: the program of a model, in words."""

from typing import Annotated

import typer


def command(
    model: Annotated[str, typer.Argument(
        help="A llama2.c model file, or bundled.")] = "bundled",
    config: Annotated[str | None, typer.Option(
        help="A preset's name, or a configuration file; by default sim, or formats for a weight "
             "format that sim lacks.")] = None,
    format: Annotated[str, typer.Option(
        help="Of the weights; `tokamac formats` lists them.")] = "int4",
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "Once upon a time",
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 64,
    check: Annotated[bool, typer.Option(
        "--check", help="The variant that writes all logits to memory.")] = False,
):
    """Print the program that a model is compiled to, and its memory map."""
    from .run import compile_choice

    compiled, _ = compile_choice(model, prompt, tokens, config, format, check=check)
    typer.echo(compiled.layout())
    typer.echo(compiled.listing(), nl=False)
