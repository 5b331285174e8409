"""Which file a model's name means."""

from pathlib import Path


__all__ = ["BUNDLED", "model_path"]

#: The model that comes with Tokamac.
BUNDLED = Path(__file__).parent.parent / "bundled" / "stories1m.bin"


def model_path(choice):
    """Path of a model: ``bundled``, or a file's name."""
    return BUNDLED if str(choice) == "bundled" else Path(choice)
