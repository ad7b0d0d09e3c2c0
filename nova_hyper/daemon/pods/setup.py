"""The use cases of what a pod is given: by its creator at its birth, or a new password later."""

from __future__ import annotations

import logging
import os
import uuid
from pathlib import Path
from typing import Protocol

from nova_hyper.daemon.hypervisor.domain import is_pod_id
from nova_hyper.daemon.pods import giving
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.sandbox import Sandboxes
from nova_hyper.daemon.pods.service import Pods, disk_errors
from nova_hyper.daemon.ports import Platform
from nova_hyper.spec.errors import Conflict, InvalidRequest
from nova_hyper.spec.pod import PodState
from nova_hyper.spec.setup import MAX_CONFIG_DRIVE_BYTES, Setup, SetupDone

LOG = logging.getLogger(__name__)

_CHUNK = 1 << 20
_MIB = 1 << 20
# ECMA-119: volume descriptors begin at sector 16, each with this behind its type.
_MAGIC_AT = 16 * 2048 + 1
_MAGIC = b"CD001"


class Source(Protocol):
    """Bytes as they come."""

    def read(self, size: int, /) -> bytes: ...


class Setups:
    """Gives pods files, keys, passwords and config drives."""

    def __init__(
        self, pods: Pods, sandboxes: Sandboxes, repository: Repository, platform: Platform
    ) -> None:
        self._pods = pods
        self._sandboxes = sandboxes
        self._repository = repository
        self._platform = platform

    def apply(self, ref: str, setup: Setup) -> SetupDone:
        """Give the containers of a pod that is up what *setup* has; may be repeated.

        A pod that has its files in memory loses them when it stops: it is given
        the same again whenever it boots.

        :raises Conflict: when it is not up.
        :raises InvalidRequest: for a file that cannot be where it is wanted.
        """
        with self._pods.holding(ref) as entry:
            pod = entry.pod
            if pod.state not in (PodState.READY, PodState.RUNNING):
                entry.require_unpaused()
                raise Conflict(
                    f"pod {pod.spec.name} can be given nothing (it is {pod.state}); start it first"
                )
            giving.check(pod.spec, setup)
            done = self._sandboxes.give(entry, setup)
            if not pod.own_spec.root_gib:
                known = self._repository.setup(entry.id) or Setup()
                self._repository.save_setup(entry.id, giving.merged(known, setup))
            LOG.info(
                "pod %s was given %d files; keys: %s, password: %s",
                entry.id,
                len(setup.files),
                done.keys,
                done.password,
            )
            return done

    def store_config_drive(self, pod_id: str, source: Source) -> None:
        """Keep the image of a config drive, ISO 9660, for a pod that may not be made yet.

        It is attached when the pod boots the next time, and goes with the pod.

        :raises InvalidRequest: when it is none, or too large.
        :raises DiskFull: when the host's disk has no room for it.
        """
        if not is_pod_id(pod_id):
            raise InvalidRequest(f"the pod's id must be a UUID in lower case, not {pod_id!r}")
        target = self._repository.config_drive(pod_id)
        with disk_errors():
            self._repository.prepare(pod_id)
            draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
            try:
                _write(draft, source)
                _check(draft)
                _give_away(draft, self._platform.owner())
                draft.replace(target)
            except BaseException:
                draft.unlink(missing_ok=True)
                self._repository.forget_unmade(pod_id)
                raise


def _write(path: Path, source: Source) -> None:
    size = 0
    with open(path, "xb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > MAX_CONFIG_DRIVE_BYTES:
                raise InvalidRequest(
                    f"the config drive is larger than {MAX_CONFIG_DRIVE_BYTES // _MIB} MiB"
                )
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _check(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(_MAGIC_AT)
        if file.read(len(_MAGIC)) != _MAGIC:
            raise InvalidRequest("the config drive is no image of a file system of type iso9660")


def _give_away(path: Path, owner: str) -> None:
    if owner:
        uid, _, gid = owner.partition(":")
        os.chown(path, int(uid), int(gid))
