"""Pods on disk: one directory each, with the record, the disks and the console."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from nova_hyper.daemon.files import write_atomically, write_json
from nova_hyper.spec import codec
from nova_hyper.spec.pod import Pod
from nova_hyper.spec.setup import Setup

LOG = logging.getLogger(__name__)

_RECORD = "pod.json"
_SETUP = "setup.json"


class Repository:
    """The pods' directories below *directory*; sockets are below *runtime_dir*."""

    def __init__(self, directory: Path, runtime_dir: Path) -> None:
        self._directory = directory
        self._sockets = runtime_dir / "agents"
        _make(directory)
        _make(self._sockets)

    def directory(self, pod_id: str) -> Path:
        """Return the pod's own directory."""
        return self._directory / pod_id

    def console(self, pod_id: str) -> Path:
        """Return the file of the pod's console."""
        return self.directory(pod_id) / "console.log"

    def log(self, pod_id: str) -> Path:
        """Return the file of the containers' output, a record a line."""
        return self.directory(pod_id) / "container.log"

    def upper(self, pod_id: str, container: str) -> Path:
        """Return the disk of a container's writable layer."""
        return self.directory(pod_id) / f"upper-{container}.img"

    def shared_upper(self, pod_id: str) -> Path:
        """Return the disk of what all containers of a pod write."""
        return self.directory(pod_id) / "upper.img"

    def saved_memory(self, pod_id: str) -> Path:
        """Return the file that the memory of a suspended pod is saved in."""
        return self.directory(pod_id) / "memory.save"

    def dump_request(self, pod_id: str) -> Path:
        """Return the file that is there while a crash dump of the pod is asked for."""
        return self.directory(pod_id) / "crash-dump"

    def console_port(self, pod_id: str) -> Path:
        """Return the file with the number of the TCP port of the pod's console."""
        return self.directory(pod_id) / "console-port"

    def config_drive(self, pod_id: str) -> Path:
        """Return the file of the pod's config drive."""
        return self.directory(pod_id) / "config-drive.iso"

    def save_setup(self, pod_id: str, setup: Setup) -> None:
        """Keep what a pod is given whenever it boots, for nobody else to read."""
        data = json.dumps(codec.encode(setup)).encode()
        write_atomically(self.directory(pod_id) / _SETUP, data, mode=0o600)

    def setup(self, pod_id: str) -> Setup | None:
        """Return what is kept of that, None for nothing.

        :raises ValueError: when the file is damaged.
        """
        try:
            data = json.loads((self.directory(pod_id) / _SETUP).read_bytes())
        except FileNotFoundError:
            return None
        return codec.decode(Setup, data)

    def prepare(self, pod_id: str) -> None:
        """Make the directory of a pod that is to be made, unless it is there."""
        if not self.directory(pod_id).is_dir():
            _make(self.directory(pod_id))

    def forget_unmade(self, pod_id: str) -> None:
        """Remove what was kept for a pod that has no record: it was never made.  Idempotent."""
        directory = self.directory(pod_id)
        if directory.is_dir() and not (directory / _RECORD).exists():
            shutil.rmtree(directory, ignore_errors=True)

    def forget_memory(self, pod_id: str) -> None:
        """Remove what is kept of a micro-VM's memory, or is to be; idempotent."""
        self.saved_memory(pod_id).unlink(missing_ok=True)
        self.dump_request(pod_id).unlink(missing_ok=True)

    def note_growth(self, pod_id: str) -> None:
        """Remember that file systems of the pod are smaller than their disks, until it boots."""
        self._growth(pod_id).touch()

    def has_grown(self, pod_id: str) -> bool:
        """Tell whether a disk of the pod has ever become larger."""
        return self._growth(pod_id).exists()

    def _growth(self, pod_id: str) -> Path:
        return self.directory(pod_id) / "grown"

    def agent_socket(self, pod_id: str) -> Path:
        """Return the socket of the pod's agent."""
        return self._sockets / f"{pod_id}.sock"

    def save(self, pod: Pod) -> None:
        """Write the record down before anything acts on it.

        :raises OSError: when the disk is full, for example.
        """
        self.prepare(pod.spec.id)
        write_json(self.directory(pod.spec.id) / _RECORD, codec.encode(pod))

    def make_room(self, pod_id: str) -> None:
        """Make a directory for what is no pod: without a record, the next daemon removes it."""
        _make(self.directory(pod_id))

    def remove(self, pod_id: str) -> None:
        """Remove all that the pod has on disk; idempotent."""
        # The record last: without it nobody would know what else to remove.
        self.agent_socket(pod_id).unlink(missing_ok=True)
        directory = self.directory(pod_id)
        if directory.is_dir():
            for entry in directory.iterdir():
                if entry.name == _RECORD:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
            shutil.rmtree(directory)

    def load(self) -> Iterator[Pod]:
        """Yield every pod on disk, and remove directories that never got a record."""
        for directory in sorted(self._directory.iterdir()):
            try:
                data = json.loads((directory / _RECORD).read_bytes())
                pod = codec.decode(Pod, data)
                if pod.spec.id != directory.name:
                    raise ValueError(f"it is the record of pod {pod.spec.id}")
                yield pod
            except FileNotFoundError:
                LOG.warning("%s has no record: a pod that was never made; removed", directory)
                shutil.rmtree(directory, ignore_errors=True)
            except (ValueError, OSError) as exc:
                LOG.error("%s is not a pod's record and is left alone: %s", directory, exc)

    def ids(self) -> set[str]:
        """Return the ids of all pods on disk, also of those whose record cannot be read."""
        return {directory.name for directory in self._directory.iterdir()}


def _make(directory: Path) -> None:
    """Make a directory that QEMU, which runs as a user of its own, can pass whatever our umask."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)
