"""The APIs: WSGI modules, each in a uWSGI of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cloud import answers
from cloud.service import Service
from cloud.site import ADDRESS, PORTS, Site


def definition(
    site: Site,
    name: str,
    module: str,
    env: Mapping[str, str],
    *,
    inputs: tuple[Path, ...],
    path: str = "/",
) -> Service:
    """Return the service of the API *name*, which *module* implements.

    *path* is what is asked for to see whether it answers.
    """
    port = PORTS[name]
    return Service(
        f"{name}-api",
        (
            site.bin("uwsgi"),
            f"--http-socket={ADDRESS}:{port}",
            f"--module={module}:application",
            f"--virtualenv={site.venv}",
            f"--procname-prefix-spaced={name}",
            "--master",
            "--processes=1",
            "--threads=6",
            "--enable-threads",
            "--lazy-apps",
            "--need-app",
            "--die-on-term",
            "--thunder-lock",
            "--buffer-size=65535",
            # Image uploads come chunked and may be large.
            "--chunked-input-limit=4294967296",
            "--wsgi-disable-file-wrapper",
            # uWSGI closes the connection after each answer without saying so: clients would
            # see it reset.
            "--add-header=Connection: close",
        ),
        env=env,
        ready=answers.http(f"http://{ADDRESS}:{port}{path}"),
        inputs=inputs,
    )
