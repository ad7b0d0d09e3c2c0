"""What a container runs: the image's configuration with the pod's overrides."""

from __future__ import annotations

import dataclasses

from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import ImageUnsuitable
from nova_hyper.spec.image import ImageConfig

DEFAULT_STOP_SIGNAL = "SIGTERM"


@dataclasses.dataclass(frozen=True)
class Process:
    """The first process of a container, everything decided but the user's numbers."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    user: str
    cwd: str
    stop_signal: str


def check_user(container: Container, user: str) -> None:
    """Refuse a *user* that is root, or may be, where the container must not run as root.

    Source: Kubernetes, "Configure a Security Context", runAsNonRoot: a name
    proves nothing, since only the image knows its number.

    :raises ImageUnsuitable: saying which number is missing.
    """
    name = user.partition(":")[0]
    if container.security.non_root and (not name.isdecimal() or int(name) == 0):
        raise ImageUnsuitable(
            f"container {container.name} must not run as root, but the user of image "
            f"{container.image} is {name or 'root'!r}; give it the number of another user"
        )


def resolve(container: Container, config: ImageConfig) -> Process:
    """Return what *container* runs.

    Source: Kubernetes, "Define a command and arguments": ``command`` replaces
    Entrypoint and drops Cmd, ``args`` replaces Cmd.

    :raises ImageUnsuitable: when neither names a command.
    """
    if container.command is not None:
        argv = container.command + (container.args or ())
    elif container.args is not None:
        argv = config.entrypoint + container.args
    else:
        argv = config.entrypoint + config.cmd
    if not argv or not argv[0]:
        raise ImageUnsuitable(
            f"image {container.image} has neither Entrypoint nor Cmd, so container "
            f"{container.name} has nothing to run; build the image with a command"
        )
    user = config.user if container.user is None else container.user
    if user.startswith(":"):
        user = config.user.partition(":")[0] + user
    env = {item.partition("=")[0]: item for item in config.env + container.env if item}
    return Process(
        argv=argv,
        env=tuple(env.values()),
        user=user,
        cwd=container.working_dir or config.working_dir or "/",
        stop_signal=container.stop_signal or config.stop_signal or DEFAULT_STOP_SIGNAL,
    )
