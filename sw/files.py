"""Files that are never seen half written, and folders that one process at a time fills."""

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


__all__ = ["alone", "write_whole"]


def write_whole(path, content):
    """Write text or bytes to ``path``, and make its directory; readers see the old or the new."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


@contextmanager
def alone(folder):
    """Make a folder, and wait until no other process is in it; who comes later looks whether there
    is still something to do."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
