"""Run a command to its end, with its output in a log file."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloud.failure import CloudError
from cloud.site import Site


def run(
    site: Site,
    log_name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout_s: float = 600,
) -> None:
    """Run *argv* in the site's environment; its output is appended to ``log/<log_name>.log``.

    :raises CloudError: when it fails, is not there, or takes longer than *timeout_s*.
    """
    log = site.log / f"{log_name}.log"
    with log.open("a") as out:
        out.write(f"+ {' '.join(argv)}\n")
        out.flush()
        try:
            done = subprocess.run(
                argv,
                env=site.environ | dict(env or {}),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                text=True,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except OSError as exc:
            raise CloudError(f"{argv[0]} cannot be run: {exc.strerror}.", log) from exc
        except subprocess.TimeoutExpired as exc:
            raise CloudError(
                f"{Path(argv[0]).name} did not end within {timeout_s:.0f} s.", log
            ) from exc
    if done.returncode:
        raise CloudError(f"{Path(argv[0]).name} ended with status {done.returncode}.", log)


def output(argv: Sequence[str], *, timeout_s: float = 10) -> str | None:
    """Return what *argv* prints, or None when it fails; for asking, not for doing."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
