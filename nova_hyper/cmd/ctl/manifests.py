"""Pod manifests for ``hyperctl run``: found, read, and their images brought to the host."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from pathlib import Path

from nova_hyper.client import HyperClient, pulling
from nova_hyper.cmd.ctl import output, transfer
from nova_hyper.manifest import document
from nova_hyper.manifest.pod import Manifest, parse
from nova_hyper.manifest.problems import ManifestInvalid
from nova_hyper.manifest.reference import ImageReference, PullPolicy, Source
from nova_hyper.spec.errors import (
    ImageNotFound,
    InvalidRequest,
    PullRefused,
    RegistryDenied,
    RegistryFailed,
)

_ARCHIVES = ("docker-archive:", "oci-archive:")
_STDIN = "-"
_MEMORY_MIB = 128
_SPARE_MIB = 64
_MIB = 1024**2
_MILLI = 1000


@dataclasses.dataclass(frozen=True)
class File:
    """A file that holds a manifest; ``directory`` is where relative paths in it begin."""

    data: bytes
    directory: Path


def find(argument: str) -> File | None:
    """Return the manifest that *argument* of ``run`` is (``-`` is standard input), if any.

    :raises OSError: when the file cannot be read.
    """
    if argument == _STDIN:
        return File(sys.stdin.buffer.read(document.MAX_BYTES + 1), Path.cwd())
    path = Path(argument)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        data = file.read(document.MAX_BYTES + 1)
    # By its name as well, so that what is wrong at its very beginning is said.
    named = path.suffix in (".yaml", ".yml")
    return File(data, path.parent) if named or document.is_pod(data) else None


def read(file: File, memory_mib: int | None, vcpus: int | None) -> tuple[Manifest, int, int]:
    """Return what is in *file*, and the pod's memory in MiB and vCPUs.

    Without a size given, the pod has what its containers ask for, and some more.

    :raises ManifestInvalid: naming every place that is wrong.
    """
    manifest = parse(file.data)
    limits = [p.container.resources for p in manifest.parts]
    together = [p.requests for p in manifest.containers]
    bytes_wanted = max(
        sum(r.memory_bytes for r in together), *(r.memory_bytes or 0 for r in limits)
    )
    cpus_wanted = max(sum(r.cpu_millis for r in together), *(r.cpu_millis or 0 for r in limits))
    if memory_mib is None:
        spare = _SPARE_MIB if bytes_wanted else 0
        memory_mib = max(_MEMORY_MIB, math.ceil(bytes_wanted / _MIB) + spare)
    if vcpus is None:
        vcpus = max(1, math.ceil(cpus_wanted / _MILLI))
    manifest.check_size(vcpus, memory_mib, "the pod")
    return manifest, memory_mib, vcpus


def fetch(client: HyperClient, manifest: Manifest, directory: Path) -> tuple[str, ...]:
    """Return the host's images of all containers, loading those that are archives.

    :raises ManifestInvalid: naming the place of an image that cannot be had here.
    """
    found: dict[str, str] = {}
    for reference in manifest.references:
        if reference.source is not Source.HOST:
            raise ManifestInvalid([f"{reference.path} {_elsewhere(reference)}"])
        if reference.name not in found:
            found[reference.name] = _image(client, reference, directory)
    return tuple(found[reference.name] for reference in manifest.references)


def _elsewhere(reference: ImageReference) -> str:
    if reference.source is Source.OWN:
        return "is missing: only a server of Nova has an image of its own; name one of this host"
    return (
        f"is glance://{reference.name}, which only a server of Nova can have; name an image of "
        "this host"
    )


def _image(client: HyperClient, reference: ImageReference, directory: Path) -> str:
    name = reference.name
    for transport in _ARCHIVES:
        if name.startswith(transport):
            path = directory / name.removeprefix(transport)
            try:
                return transfer.load_archive(client, str(path), None).id
            except OSError as exc:
                raise ManifestInvalid([f"{reference.path} is {name}: {exc.strerror}"]) from exc
    # A tag that may change is pulled only where the manifest says so: what was loaded here is
    # mostly called latest, and meant.
    if reference.policy is not PullPolicy.ALWAYS or not reference.is_explicit:
        with contextlib.suppress(ImageNotFound):
            client.image(name)
            return name
    if reference.policy is PullPolicy.NEVER:
        raise ManifestInvalid(
            [f"{reference.path} is {name}, which is not on this host; load it first"]
        )
    output.progress(f"pulling {name}")
    try:
        return pulling.pull(client, name)[1]
    except (PullRefused, RegistryDenied, RegistryFailed, InvalidRequest) as exc:
        raise ManifestInvalid(
            [f"{reference.path} is {name}, which is not on this host, and {exc.message}"]
        ) from exc
