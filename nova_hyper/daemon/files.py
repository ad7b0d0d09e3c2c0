"""Files that survive a crash whole: either the old content or the new."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Replace *path* with *data*; after a power cut it holds the old or the new.

    :raises OSError: when it cannot be written; the old content stands.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(temporary, "wb", opener=lambda p, f: os.open(p, f, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replace *path* with the JSON of *value* (plain types)."""
    write_atomically(path, json.dumps(value, separators=(",", ":")).encode())
