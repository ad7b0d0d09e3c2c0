"""``hyperctl guest build``: makes what pods boot, and remembers what it was made of.

Kernel and agent are cached each by the hash of its own inputs.  In the guest
directory, besides what :mod:`nova_hyper.daemon.guest.assets` describes, are
``kernels/<hash>/vmlinux``, ``hashes.json`` and ``build.log`` of the latest
build that had to do something.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nova_hyper
from nova_hyper.daemon.files import write_json
from nova_hyper.daemon.guest import assets, fingerprint, initramfs, kernel, toolchain
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.guest.buildlog import BuildFailed, BuildLog

__all__ = ["BuildFailed", "build", "source_directory"]

_RECIPE = "3"
"""Changes when the same inputs would be built differently."""
_WORK = ".work-"
_KEPT = 3
_KEY_LENGTH = 16


def source_directory(configured: Path | None) -> Path:
    """Return the directory with the agent's source and the kernel fragment.

    :raises BuildFailed: when there is none.
    """
    candidates = [
        Path(sys.prefix, "share/nova-hyper/guest"),
        Path(nova_hyper.__file__).parent.parent / "guest",
    ]
    for candidate in [configured] if configured else candidates:
        if (candidate / kernel.FRAGMENT).is_file():
            return candidate
    if configured:
        raise BuildFailed(f"{configured} has no {kernel.FRAGMENT}; it is not a guest's source")
    raise BuildFailed("the guest's source is not installed; name its directory with --source-dir")


def build(
    directory: Path,
    source_dir: Path | None,
    kernel_source: Path | None,
    kernel: Path | None,
    progress: Callable[[str], None],
    jobs: int,
) -> GuestAssets:
    """Make a guest in *directory* and make it the current one.

    *kernel_source* is a kernel's source tarball, by default the
    distribution's; *kernel* a ready ``vmlinux`` instead.  *progress* gets a
    line for each step.  Only one build runs at once; another one waits.
    Nothing is left of a build that failed or was interrupted but its log.

    :raises BuildFailed: with a sentence that says what to do.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _cleaning_up_when_terminated(), _alone(directory, progress):
            _remove_leftovers(directory)
            job = _Build(directory, source_directory(source_dir), kernel_source, kernel)
            return job.run(progress, max(1, jobs))
    except OSError as exc:
        raise BuildFailed(f"the guest cannot be built: {exc}") from exc


class _Build:
    """One build: its inputs, their hashes, and where results go."""

    def __init__(
        self, directory: Path, source_dir: Path, kernel_source: Path | None, ready: Path | None
    ) -> None:
        self._directory = directory
        self._source_dir = source_dir
        self._ready = ready
        self._tools = toolchain.identity()
        large = fingerprint.LargeFiles(directory / "hashes.json")
        self._fragment = (source_dir / kernel.FRAGMENT).resolve()
        if ready is None:
            self._tarball = kernel_source or kernel.find_source()
            if not self._tarball.is_file():
                raise BuildFailed(f"there is no kernel source {self._tarball}")
            self._kernel_key = fingerprint.combine(
                _RECIPE, large.digest(self._tarball), self._fragment.read_bytes(), self._tools
            )
        else:
            if not ready.is_file():
                raise BuildFailed(f"there is no kernel {ready}")
            self._kernel_key = fingerprint.combine(_RECIPE, large.digest(ready))
        agent_key = fingerprint.combine(
            _RECIPE,
            fingerprint.of_files(initramfs.agent_sources(source_dir)),
            toolchain.jansson().read_bytes(),
            self._tools,
        )
        self._key = fingerprint.combine(self._kernel_key, agent_key)[:_KEY_LENGTH]

    def run(self, progress: Callable[[str], None], jobs: int) -> GuestAssets:
        target = self._directory / self._key
        with contextlib.suppress(OSError, ValueError):
            found = assets.read(target)
            assets.switch(self._directory, target)
            return found
        if target.exists():
            shutil.rmtree(target)
        log = BuildLog(self._directory / "build.log", progress)
        work = Path(tempfile.mkdtemp(prefix=_WORK, dir=self._directory))
        try:
            self._make(work, log, jobs)
            os.rename(work / "result", target)
            assets.switch(self._directory, target)
            _prune(self._directory)
            log.say(f"guest {self._key} is ready")
        finally:
            shutil.rmtree(work, ignore_errors=True)
            log.close()
        return assets.read(target)

    def _make(self, work: Path, log: BuildLog, jobs: int) -> None:
        toolchain.require_for_agent()
        # The agent first: it takes seconds, and a mistake in it is not found after minutes.
        archive = initramfs.build(self._source_dir, work, log, jobs)
        vmlinux = self._kernel(work, log, jobs)
        result = work / "result"
        result.mkdir()
        os.link(vmlinux, result / assets.KERNEL)
        os.rename(archive, result / assets.INITRAMFS)
        (result / assets.INITRAMFS).chmod(0o644)
        write_json(
            result / assets.MANIFEST,
            {
                "key": self._key,
                "kernel_key": self._kernel_key,
                "kernel_version": kernel.check(vmlinux),
                "agent_version": _agent_version(self._source_dir),
                "built_at": time.time(),
            },
        )
        (result / assets.MANIFEST).chmod(0o644)
        # QEMU runs as another user.
        result.chmod(0o755)

    def _kernel(self, work: Path, log: BuildLog, jobs: int) -> Path:
        cached = self._directory / "kernels" / self._kernel_key / assets.KERNEL
        if cached.is_file():
            return cached
        if self._ready is not None:
            made = work / assets.KERNEL
            shutil.copyfile(self._ready, made)
        else:
            toolchain.require_for_kernel()
            made = kernel.build(self._tarball, self._fragment, work, log, jobs)
        kernel.check(made)
        made.chmod(0o644)
        cached.parent.mkdir(parents=True, exist_ok=True)
        os.rename(made, cached)
        return cached


@contextlib.contextmanager
def _cleaning_up_when_terminated() -> Iterator[None]:
    """Have SIGTERM end a build as Ctrl-C does; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _alone(directory: Path, progress: Callable[[str], None]) -> Iterator[None]:
    with (directory / "build.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another build is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_leftovers(directory: Path) -> None:
    """Remove what a killed build has left; the lock is held, so that none is running."""
    for work in directory.glob(f"{_WORK}*"):
        shutil.rmtree(work, ignore_errors=True)


def _prune(directory: Path) -> None:
    """Keep the newest builds, so that a pod that starts now finds its own, and their kernels."""
    manifests = directory.glob(f"*/{assets.MANIFEST}")
    builds = sorted(
        (m for m in manifests if not m.parent.is_symlink()), key=lambda m: m.stat().st_mtime_ns
    )
    for manifest in builds[:-_KEPT]:
        shutil.rmtree(manifest.parent, ignore_errors=True)
    kept = set()
    for manifest in builds[-_KEPT:]:
        with contextlib.suppress(ValueError):
            kept.add(json.loads(manifest.read_bytes()).get("kernel_key"))
    for cached in directory.glob("kernels/*"):
        if cached.name not in kept:
            shutil.rmtree(cached, ignore_errors=True)


def _agent_version(source_dir: Path) -> str:
    text = (source_dir / initramfs.AGENT / "version.h").read_text()
    match = re.search(r'#define AGENT_VERSION "([^"]+)"', text)
    if match is None:
        raise BuildFailed(f"{source_dir}/agent/version.h has no AGENT_VERSION")
    return match[1]
