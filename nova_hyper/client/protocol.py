"""What a client of hyperd can do, as a Protocol: the real client and the fake pass one test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from nova_hyper.spec.boot import BootFile, BootFileKind
from nova_hyper.spec.console import ConsoleKind, ConsolePort
from nova_hyper.spec.diagnostics import Diagnostics
from nova_hyper.spec.event import EventPage
from nova_hyper.spec.host import Host, Version
from nova_hyper.spec.image import Image
from nova_hyper.spec.log import LogLine
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import Pod, PodSpec
from nova_hyper.spec.setup import Setup, SetupDone
from nova_hyper.spec.shape import Shape
from nova_hyper.spec.stats import PodStats, Top
from nova_hyper.spec.stream import Terminal


class Session(Protocol):
    """A command in a container: iterate over its output while another thread writes its input.

    The iteration yields 1 (stdout) or 2 (stderr) and bytes; it raises the
    HyperError that it ended with.  ``exit_code`` is known then.
    """

    exit_code: int | None

    def __iter__(self) -> Iterator[tuple[int, bytes]]: ...

    def write(self, data: bytes) -> None: ...

    def end_input(self) -> None: ...

    def resize(self, terminal: Terminal) -> None: ...

    def signal(self, name: str) -> None: ...

    def close(self) -> None:
        """Hang up, which ends a command that still runs; idempotent."""


class ArchiveBody(Protocol):
    """Bytes as they come."""

    def read(self, size: int = ..., /) -> bytes: ...

    def close(self) -> None: ...


class Hyperd(Protocol):
    """The REST API of hyperd; *ref* is an id or a name.

    Every method raises a :class:`~nova_hyper.spec.errors.HyperError`: what
    hyperd answered, or DaemonUnavailable.
    """

    def version(self) -> Version: ...

    def host(self) -> Host: ...

    def openapi(self) -> dict[str, Any]: ...

    def import_image(self, name: str, chunks: Iterable[bytes]) -> Image:
        """Import the archive that *chunks* make up, streamed, as *name*."""

    def pull(
        self, ref: str, username: str | None = None, password: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Pull an image from a registry; yield what happens, the event ``done`` at last."""

    def images(self) -> tuple[Image, ...]: ...

    def image(self, ref: str) -> Image: ...

    def delete_image(self, ref: str) -> None: ...

    def import_boot_file(self, name: str, kind: BootFileKind, chunks: Iterable[bytes]) -> BootFile:
        """Keep the kernel or ramdisk that *chunks* make up, streamed, as *name*."""

    def boot_files(self) -> tuple[BootFile, ...]: ...

    def boot_file(self, ref: str) -> BootFile: ...

    def delete_boot_file(self, ref: str) -> None: ...

    def create_pod(self, spec: PodSpec) -> Pod:
        """Boot the sandbox and return the pod, READY; nothing is left of one that fails."""

    def pods(self) -> tuple[Pod, ...]: ...

    def pod(self, ref: str) -> Pod: ...

    def boot_pod(
        self, ref: str, nics: tuple[Nic, ...] | None = None, dns: Dns | None = None
    ) -> Pod:
        """Bring a stopped or crashed pod to READY, with new NICs where given."""

    def setup_pod(self, ref: str, setup: Setup) -> SetupDone:
        """Give the containers of a pod that is up files, keys and a password."""

    def store_config_drive(self, ref: str, image: bytes) -> None:
        """Keep the config drive of a pod that may not be made yet."""

    def start_pod(self, ref: str) -> Pod:
        """Start the containers of a pod, booting it first when it is stopped."""

    def stop_pod(self, ref: str, grace_s: int | None = None, force: bool = False) -> Pod:
        """Stop a pod: signal, *grace_s* seconds, SIGKILL; *force* is at once."""

    def delete_pod(self, ref: str) -> None:
        """Remove a pod, also a half-made one.

        :raises PodNotFound: when there is none.
        """

    def pause_pod(self, ref: str) -> Pod:
        """Stop the CPUs of a pod that runs."""

    def unpause_pod(self, ref: str) -> Pod:
        """Let the CPUs of a paused pod run, with the right time."""

    def suspend_pod(self, ref: str) -> Pod:
        """Save the memory of a pod that runs to a file, and end its micro-VM."""

    def resume_pod(
        self,
        ref: str,
        nics: tuple[Nic, ...] | None = None,
        dns: Dns | None = None,
        paused: bool = False,
    ) -> Pod:
        """Bring a suspended pod back, its interfaces where *nics* say, and *paused* at first."""

    def crash_pod(self, ref: str) -> Pod:
        """Have the kernel of a pod panic, and its memory dumped on the host."""

    def rescue_pod(self, ref: str, image: str | None = None) -> Pod:
        """Have *image* boot in place of a stopped pod, with the pod's disks mounted in it."""

    def unrescue_pod(self, ref: str) -> Pod:
        """Have a stopped pod that is in rescue be itself again."""

    def diagnostics(self, ref: str) -> Diagnostics:
        """Return what the host counts of a pod that is up."""

    def reshape_pod(self, ref: str, shape: Shape, dry_run: bool = False) -> Pod:
        """Give a stopped pod another shape; *dry_run*: tell whether it could have it."""

    def make_restore_point(self, ref: str) -> Pod:
        """Keep the shape and the disks of a stopped pod."""

    def drop_restore_point(self, ref: str) -> Pod:
        """Remove what is kept of a pod, if anything is."""

    def restore_pod(self, ref: str) -> Pod:
        """Make a stopped pod what was kept, if anything is."""

    def console(self, ref: str, max_bytes: int) -> bytes:
        """Return the last *max_bytes* bytes of the containers' output."""

    def open_console(self, ref: str, kind: ConsoleKind = ConsoleKind.AUTO) -> ConsolePort:
        """Return where the interactive console of a pod that runs can be connected to.

        :raises Conflict: when it does not run.
        :raises PortsExhausted: when no port is left.
        """

    def kill_pod(self, ref: str, signal: str, container: str | None = None) -> None:
        """Send a signal to the process of a container, None: of every one."""

    def stats(self, ref: str) -> PodStats:
        """Return what a running pod uses."""

    def top(self, ref: str, container: str | None = None) -> Top:
        """Return the processes of a container, None: of the first one."""

    def exec(
        self,
        ref: str,
        argv: Sequence[str],
        *,
        container: str | None = None,
        env: Sequence[str] = (),
        user: str | None = None,
        working_dir: str | None = None,
        terminal: Terminal | None = None,
        stdin: bool = False,
    ) -> Session:
        """Run a command in a container; what is None is as its own process has it."""

    def attach(self, ref: str, container: str | None = None, stdin: bool = False) -> Session:
        """Join the output of a container, and its input where it was made with one."""

    def logs(
        self,
        ref: str,
        *,
        container: str | None = None,
        since: float | None = None,
        tail: int | None = None,
        after: str | None = None,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """Return what the containers printed, line by line; see ``client.logs`` to follow.

        *since* is Unix seconds, *tail* a number of lines, *after* the position of a line.
        """

    def read_archive(self, ref: str, path: str, container: str | None = None) -> ArchiveBody:
        """Return a file or directory of a container as tar, its base name first; close it."""

    def write_archive(
        self, ref: str, path: str, chunks: Iterable[bytes], container: str | None = None
    ) -> None:
        """Extract the tar that *chunks* make up below a directory of a container."""

    def snapshot(
        self, ref: str, container: str | None = None, changes: Sequence[str] = ()
    ) -> ArchiveBody:
        """Return a container, None: the first one, as a docker archive with one more layer.

        *changes* are of its execution parameters, as in a Dockerfile; close it.
        """

    def events(self, after: int, wait: float) -> EventPage:
        """Return the events after *after*, waiting up to *wait* seconds for one."""
