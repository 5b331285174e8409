"""Arguments that several commands take of the user in the same way."""

from typing import Annotated

import typer


__all__ = ["Activations", "BlockList", "ChunkSize", "ConfigChoice", "FormatChoice", "GlobalEvery",
           "KeysAndValues", "ModelFile", "PageSize", "Pinned", "Prompts", "ScaleRule", "Share",
           "Sinks", "Window"]


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
    help="Elements of keys and values: int8, e4m3, e5m2 or int4.")]
Window = Annotated[int | None, typer.Option(
    help="Tokens that a token sees, itself among them; by default what the file says, or all.")]
Sinks = Annotated[int, typer.Option(
    help="First tokens, which are seen always, with a window.")]
GlobalEvery = Annotated[int | None, typer.Option(
    metavar="N", help="Every N-th layer sees all tokens in spite of the window.")]
BlockList = Annotated[str | None, typer.Option(
    help="Blocks of 32 tokens that are seen besides window and sinks, such as 0,3-7, or a file "
         "with such a list.")]
Share = Annotated[str | None, typer.Option(
    metavar="1/N",
    help="Layers that would see all tokens see the pages of keys that score highest, this share of "
         "them, besides window and sinks; N is a power of two.")]
PageSize = Annotated[int | None, typer.Option(
    metavar="TOKENS", help="Of a page, a power of two from 32 to 4096; by default 128.")]
Pinned = Annotated[str, typer.Option(
    help="What the on-die cache holds: weights, kv, both with a comma between, or none.")]
Prompts = Annotated[list[str], typer.Option(
    help="Text to go on from; may be empty. Several, each with an option of its own, are written "
         "one after another in one run, and share the keys and values of what they have in "
         "common.")]
ChunkSize = Annotated[int | None, typer.Option(
    help="Tokens of the prompt that pass through the model together, at most; 1: one by one. By "
         "default as many as fit.")]
