"""``tokamac listing``: the program of a model, in words."""

from typing import Annotated

import typer


def command(
    model: Annotated[str, typer.Argument(
        help="A llama2.c or GGUF model file, or bundled.")] = "bundled",
    config: Annotated[str | None, typer.Option(
        help="A preset's name, or a configuration file; by default sim, or formats for number "
             "formats that sim lacks.")] = None,
    format: Annotated[str | None, typer.Option(
        help="Of weights that the file does not hold in a format of the machine; `tokamac formats` "
             "lists them. By default int4, but for a GGUF file that of most of its weights, and "
             "int8 for what was rounded in another way.")] = None,
    activations: Annotated[str, typer.Option(help="Elements of activations.")] = "int8",
    scale_rule: Annotated[str, typer.Option(help="Of power-of-two scales.")] = "floor",
    kv: Annotated[str, typer.Option(help="Elements of keys and values.")] = "int8",
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "Once upon a time",
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 64,
    check: Annotated[bool, typer.Option(
        "--check", help="The variant that writes all logits to memory.")] = False,
):
    """Print the program that a model is compiled to, and its memory map."""
    from .run import compile_choice

    compiled, _ = compile_choice(model, prompt, tokens, config, format, check=check,
                                 activation=activations, rule=scale_rule, kv=kv)
    typer.echo(compiled.layout())
    typer.echo(compiled.listing(), nl=False)
