"""Files that are never seen half written."""

import os
import tempfile
from pathlib import Path


__all__ = ["write_whole"]


def write_whole(path, content):
    """Write text or bytes to ``path``, and make its directory; readers see the old or the new."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
