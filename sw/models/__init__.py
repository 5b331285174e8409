"""Language models in memory, and the files that they are read from."""

from .llama2c import load
from .model import Model


__all__ = ["Model", "load"]
