"""The database: a MariaDB of our own, on a private data directory and a unix socket."""

from __future__ import annotations

import pymysql

from cloud import answers, command, service
from cloud.config import DATABASES
from cloud.service import Service
from cloud.site import Site


def definition(site: Site) -> Service:
    """Return MariaDB's service."""
    socket = site.run / "mysql.sock"
    return Service(
        "mariadb",
        (
            "/usr/sbin/mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={site.var}/mysql",
            f"--socket={socket}",
            "--skip-networking",
            "--skip-log-bin",
            # Survives a kill of the process; a power cut may lose the last second.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=128M",
            "--performance-schema=OFF",
            "--max-connections=500",
        ),
        ready=answers.unix(socket),
    )


def bring_up(site: Site) -> None:
    """Make the data directory if there is none, start the server, make the databases."""
    data = site.var / "mysql"
    made = data / "databases-made"
    if not made.exists():
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        command.run(
            site,
            "mariadb-install",
            (
                "mariadb-install-db",
                "--no-defaults",
                "--user=root",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ),
        )
    service.bring_up(site, definition(site))
    if not made.exists():
        with (
            pymysql.connect(user="root", unix_socket=f"{site.run}/mysql.sock") as connection,
            connection.cursor() as cursor,
        ):
            for name in DATABASES:
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3")
        made.touch()
