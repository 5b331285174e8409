"""Language models in memory, and the files that they are read from."""

from pathlib import Path

from . import llama2c
from .model import Model


__all__ = ["Model", "is_gguf", "load"]


def is_gguf(path):
    """Whether a file is a GGUF file, or should be one; one that cannot be read is none."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"GGUF" or Path(path).suffix == ".gguf"
    except OSError:
        return False


def load(path):
    """The :class:`Model` of a llama2.c or GGUF file. Raises :class:`UserError` if there is none."""
    if is_gguf(path):
        from . import gguf
        return gguf.load(path)
    return llama2c.load(path)
