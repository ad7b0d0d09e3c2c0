"""The store of boot files: each content once, by its digest, under names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from nova_hyper.daemon.files import write_json
from nova_hyper.daemon.guest import bootformat
from nova_hyper.spec import codec
from nova_hyper.spec.boot import BootFile, BootFileKind
from nova_hyper.spec.errors import BootFileInUse, BootFileInvalid, BootFileNotFound, DiskFull

LOG = logging.getLogger(__name__)

_CHUNK = 1 << 20
_MIB = 1 << 20
_DRAFT = "draft-"
_RECORD = ".json"
_ALGORITHM = "sha256:"


class Source(Protocol):
    """Where the content comes from."""

    def read(self, size: int, /) -> bytes: ...


class BootFileStore:
    """Kernels and ramdisks below *directory*, none larger than *max_bytes*.

    *in_use* returns the ids that pods boot: those stay.
    """

    def __init__(self, directory: Path, max_bytes: int, in_use: Callable[[], set[str]]) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._in_use = in_use
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o711)  # QEMU runs as another user
        for draft in directory.glob(f"{_DRAFT}*"):
            draft.unlink()
        self._files = {file.id: file for file in self._load()}

    def list(self) -> list[BootFile]:
        """Return all files, by id."""
        with self._lock:
            return [self._files[key] for key in sorted(self._files)]

    def get(self, ref: str) -> BootFile:
        """Return the file of an id or a name.

        :raises BootFileNotFound: when there is none.
        """
        with self._lock:
            return self._find(ref)

    def path(self, ref: str) -> Path:
        """Return where the file of an id or a name is.

        :raises BootFileNotFound: when there is none.
        """
        return self._path(self.get(ref).id)

    def add(self, source: Source, name: str, kind: BootFileKind) -> tuple[BootFile, bool]:
        """Keep what *source* gives as *name*, which moves when it is another file's.

        :returns: the file, and whether its content is new here.
        :raises BootFileInvalid: when it is too large, or nothing that boots.
        :raises DiskFull: when the host's disk has no room for it.
        """
        draft = self._directory / f"{_DRAFT}{os.getpid()}-{threading.get_ident()}"
        try:
            digest = self._write(draft, source)
            form = bootformat.recognize(draft, kind)
            with self._lock:
                return self._keep(draft, _ALGORITHM + digest, name, kind, form)
        except OSError as exc:
            raise DiskFull(f"there is no room for the {kind.value}: {exc.strerror}") from exc
        finally:
            draft.unlink(missing_ok=True)

    def delete(self, ref: str) -> None:
        """Remove the file of an id, or one name; a file without names goes.

        :raises BootFileNotFound: when there is none.
        :raises BootFileInUse: when a pod boots it; then all stays as it is.
        """
        with self._lock:
            file = self._find(ref)
            names = tuple(n for n in file.names if n != ref) if ref in file.names else ()
            if names:
                self._record(BootFile(file.id, names, file.kind, file.format, file.size))
                return
            if file.id in self._in_use():
                raise BootFileInUse(
                    f"a pod boots the {file.kind.value} {ref}; delete the pod first"
                )
            # The record first: without it the content is nobody's, and goes at the next start.
            self._record_path(file.id).unlink(missing_ok=True)
            self._path(file.id).unlink(missing_ok=True)
            del self._files[file.id]

    def _write(self, draft: Path, source: Source) -> str:
        digest = hashlib.sha256()
        size = 0
        with draft.open("wb") as file:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > self._max_bytes:
                    raise BootFileInvalid(
                        f"it is larger than the {self._max_bytes // _MIB} MiB that kernels and "
                        "ramdisks may have here"
                    )
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)
        return digest.hexdigest()

    def _keep(
        self, draft: Path, file_id: str, name: str, kind: BootFileKind, form: str
    ) -> tuple[BootFile, bool]:
        known = self._files.get(file_id)
        names = dict.fromkeys((*(known.names if known else ()), name))
        file = BootFile(file_id, tuple(names), kind, form, draft.stat().st_size)
        draft.replace(self._path(file_id))
        self._record(file)
        for other in list(self._files.values()):
            if other.id != file_id and name in other.names:
                rest = tuple(n for n in other.names if n != name)
                self._record(BootFile(other.id, rest, other.kind, other.format, other.size))
        return file, known is None

    def _record(self, file: BootFile) -> None:
        write_json(self._record_path(file.id), codec.encode(file))
        self._files[file.id] = file

    def _find(self, ref: str) -> BootFile:
        found = self._files.get(ref) or next(
            (file for file in self._files.values() if ref in file.names), None
        )
        if found is None:
            raise BootFileNotFound(f"there is no kernel or ramdisk {ref} on this host")
        return found

    def _path(self, file_id: str) -> Path:
        return self._directory / file_id.removeprefix(_ALGORITHM)

    def _record_path(self, file_id: str) -> Path:
        path = self._path(file_id)
        return path.with_name(path.name + _RECORD)

    def _load(self) -> Iterator[BootFile]:
        """Yield what is on disk, and remove content that never got a record."""
        for path in self._directory.iterdir():
            if path.suffix == _RECORD:
                with contextlib.suppress(FileNotFoundError):
                    file = _read(path)
                    if file is not None and self._path(file.id).exists():
                        yield file
            elif not path.with_name(path.name + _RECORD).exists():
                path.unlink()


def _read(path: Path) -> BootFile | None:
    try:
        data: Any = json.loads(path.read_bytes())
        return codec.decode(BootFile, data)
    except ValueError as exc:
        LOG.error("%s is damaged; its file is fetched again when it is needed: %s", path, exc)
        return None
