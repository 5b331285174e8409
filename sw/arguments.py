"""Arguments that several commands take of the user in the same way."""

from typing import Annotated

import typer


__all__ = ["Activations", "ConfigChoice", "FormatChoice", "KeysAndValues", "ModelFile", "ScaleRule"]


ModelFile = Annotated[str, typer.Argument(help="A llama2.c or GGUF model file, or bundled.")]
ConfigChoice = Annotated[str | None, typer.Option(
    help="A preset's name, or a configuration file; by default sim, or formats for number formats "
         "that sim lacks.")]
FormatChoice = Annotated[str | None, typer.Option(
    help="Of weights that the file does not hold in a format of the machine; `tokamac formats` "
         "lists them. By default int4, but for a GGUF file that of most of its weights, and int8 "
         "for what was rounded in another way.")]
Activations = Annotated[str, typer.Option(help="Elements of activations: int8 or e4m3.")]
ScaleRule = Annotated[str, typer.Option(
    help="Of power-of-two scales: floor, as in the MX standard, or up, so that nothing is "
         "clipped.")]
KeysAndValues = Annotated[str, typer.Option(
    help="Elements of keys and values: int8, e4m3 or e5m2.")]
