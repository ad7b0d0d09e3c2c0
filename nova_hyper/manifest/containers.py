"""One container of a Pod."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nova_hyper.manifest import environment, quantity, reference, volumes
from nova_hyper.manifest import probes as probing
from nova_hyper.manifest import security as securing
from nova_hyper.manifest.expansion import Expansion
from nova_hyper.manifest.objects import Objects
from nova_hyper.manifest.problems import Problems
from nova_hyper.manifest.reference import ImageReference
from nova_hyper.spec.container import Container, Port, Resources
from nova_hyper.spec.volume import Volume

_MILLI = 1000
_MIN_MEMORY = 1024**2
# What goes to the agent in one request, which is at most 256 KiB of JSON.
_MAX_PROCESS = 160 * 1024


@dataclasses.dataclass(frozen=True)
class Requests:
    """What a container wants to be sure of: bytes of memory and thousandths of a CPU."""

    memory_bytes: int = 0
    cpu_millis: int = 0


@dataclasses.dataclass(frozen=True)
class Part:
    """A container without its image, which is found by ``reference``; ``path`` is its place."""

    container: Container
    reference: ImageReference
    requests: Requests
    path: str


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What of the Pod its containers refer to."""

    metadata: Mapping[str, Any]
    security: Mapping[str, Any]
    volumes: Mapping[str, Volume]
    objects: Objects


def part(
    container: Mapping[str, Any], around: Surroundings, path: str, problems: Problems
) -> Part:
    """Return what the *container* at *path* is, saying what is wrong with it."""
    expansion = Expansion()
    variables = environment.variables(
        container, around.metadata, around.objects, expansion, path, problems
    )
    ports = _ports(container, path, problems)
    resources, requests = _resources(container.get("resources", {}), path, problems)
    own = container.get("securityContext", {})
    command = container.get("command")
    # An empty list is as good as none, as in Kubernetes: the image's Cmd stays.
    args = container.get("args") or None

    def words(key: str, given: Sequence[str]) -> tuple[str, ...]:
        found = []
        for index, word in enumerate(given):
            try:
                found.append(expansion.expand(word, variables))
            except ValueError as exc:
                problems.add(f"{path}.{key}[{index}]", str(exc))
        return tuple(found)

    made = Container(
        name=container["name"],
        image="",
        command=None if command is None else words("command", command),
        args=None if args is None else words("args", args),
        env=tuple(f"{name}={value}" for name, value in variables.items()),
        user=securing.user(around.security, own),
        working_dir=container.get("workingDir") or None,
        resources=resources,
        mounts=volumes.mounts(container, around.volumes, path, problems),
        security=securing.security(around.security, own, f"{path}.securityContext", problems),
        probes=probing.probes(container, ports, words, path, problems),
        ports=ports,
        stdin=container.get("stdin", False),
        tty=container.get("tty", False),
    )
    _check_length(made, path, problems)
    image = reference.read(
        container.get("image", ""), container.get("imagePullPolicy"), f"{path}.image"
    )
    return Part(made, image, requests, path)


def _check_length(made: Container, path: str, problems: Problems) -> None:
    length = sum(len(word.encode()) for word in (*(made.command or ()), *(made.args or ())))
    length += sum(len(item.encode()) for item in made.env)
    if length > _MAX_PROCESS:
        problems.add(
            path,
            f"has a command and variables of {length} bytes, more than the {_MAX_PROCESS} "
            "possible",
        )


def _ports(container: Mapping[str, Any], path: str, problems: Problems) -> tuple[Port, ...]:
    found = []
    names: set[str] = set()
    for index, port in enumerate(container.get("ports", ())):
        where = f"{path}.ports[{index}]"
        number = port["containerPort"]
        if port.get("hostPort", number) != number:
            problems.add(
                f"{where}.hostPort",
                f"can only be {number}: a pod has addresses of its own, where the port is open "
                "under its own number",
            )
        name = port.get("name", "")
        if name and name in names:
            problems.add(f"{where}.name", f"is {name}, as of an earlier port")
        names.add(name)
        found.append(Port(number, port.get("protocol", "TCP"), name))
    return tuple(found)


def _resources(
    wanted: Mapping[str, Any], path: str, problems: Problems
) -> tuple[Resources, Requests]:
    def amount(kind: str, what: str, scale: int) -> int | None:
        value = wanted.get(kind, {}).get(what)
        if value is None:
            return None
        try:
            return quantity.parse(value, scale)
        except ValueError as exc:
            problems.add(f"{path}.resources.{kind}.{what}", f"{exc}, not {str(value)[:40]!r}")
            return None

    memory, cpu = amount("limits", "memory", 1), amount("limits", "cpu", _MILLI)
    if memory is not None and memory < _MIN_MEMORY:
        problems.add(f"{path}.resources.limits.memory", "must be at least 1Mi")
    asked_memory, asked_cpu = amount("requests", "memory", 1), amount("requests", "cpu", _MILLI)
    for what, asked, limit in (("memory", asked_memory, memory), ("cpu", asked_cpu, cpu)):
        if asked is not None and limit is not None and asked > limit:
            problems.add(f"{path}.resources.requests.{what}", "is more than the limit")
    # A limit alone is a request too, as in Kubernetes.
    requests = Requests(
        (memory or 0) if asked_memory is None else asked_memory,
        (cpu or 0) if asked_cpu is None else asked_cpu,
    )
    weight = _weight(requests.cpu_millis) if requests.cpu_millis else None
    return Resources(memory, cpu, weight), requests


def _weight(cpu_millis: int) -> int:
    """Return cgroup v2's weight of a request: by way of v1's shares, as kubelet and runc do."""
    shares = min(max(2, cpu_millis * 1024 // _MILLI), 262144)
    return 1 + (shares - 2) * 9999 // 262142
