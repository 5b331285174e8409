"""Files that are never seen half written."""

import os
import tempfile
from pathlib import Path


__all__ = ["write_whole"]


def write_whole(path, text):
    """Write ``text`` to ``path``, and make its directory; readers see the old text or the new."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
