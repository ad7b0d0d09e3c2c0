"""Files out of a tar that a guest has made: hostile, so nothing of it reaches other places.

The rules are those of tarfile's data filter (PEP 706), which Python 3.11 does not
have everywhere, with links told apart more strictly: one that leads outside of
what is copied is left out.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from nova_hyper.spec.errors import HyperError

_DEPTH = 512
_NAMELESS = "content"


def extract(tar: tarfile.TarFile, target: Path, name: str, told: Callable[[str], None]) -> None:
    """Put the one tree in *tar* at *target*, or below it as *name* when that is a directory.

    What *tar* has and may not be made here is named to *told* and left out:
    devices, names and links that lead outside.  Directories that exist are
    merged, other files replaced.  Links are not followed.  An empty *name* (of
    ``POD:/`` or ``POD:/etc/.``) has its content go to *target* itself.  How the guest
    calls the tree does not matter: it might call it ``.bashrc``.

    :raises HyperError: when there is nothing in it.
    :raises OSError: when something cannot be written; nothing has changed at *target* then.
    """
    parent = target if target.is_dir() else target.parent
    if not parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(parent))
    scratch = Path(tempfile.mkdtemp(prefix=".hyperctl-", dir=parent))
    try:
        tree = _Tree(scratch, told)
        base = tree.fill(tar)
        if base is None:
            if tree.left_out:
                return
            raise HyperError("there is nothing to copy")
        _merge(scratch / base, target / name if target.is_dir() else target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Tree:
    """A directory of ours that a tar is extracted to."""

    def __init__(self, root: Path, told: Callable[[str], None]) -> None:
        self._root = root
        self._told = told
        self._base: str | None = None
        self._nameless = False
        self.left_out = False
        self._links: list[tuple[Path, str]] = []
        self._directories: list[tuple[Path, tarfile.TarInfo]] = []

    def fill(self, tar: tarfile.TarFile) -> str | None:
        """Return the name of what was extracted, None for nothing."""
        for member in tar:
            path = self._path(member.name)
            if path is None:
                self._leave_out(member, "its name leads outside")
            elif not path.parent.is_dir() or (path.exists() and not path.is_dir()):
                self._leave_out(member, "another file is in its way")
            elif member.isdir():
                path.mkdir(exist_ok=True)
                self._directories.append((path, member))
            elif path.exists():
                self._leave_out(member, "another file is in its way")
            elif member.isreg():
                self._write(tar, member, path)
            elif member.issym():
                self._links.append((path, member.linkname))
            elif member.islnk():
                self._link(member, path)
            else:
                self._leave_out(member, "it is a device or a pipe")
        # Links last: so nothing is ever written through one.
        self._make_links()
        for path, member in reversed(self._directories):
            path.chmod(member.mode & 0o777 | 0o700)
            os.utime(path, (member.mtime, member.mtime))
        if self._base is None or not os.path.lexists(self._root / self._base):
            return None
        return self._base

    def _leave_out(self, member: tarfile.TarInfo, why: str) -> None:
        self.left_out = True
        self._told(f"{_printable(member.name)} is not copied: {why}")

    def _path(self, name: str) -> Path | None:
        """Return the place of a member, which is below the first one's, None for elsewhere."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if self._base is None:
            self._nameless = not parts
        if self._nameless:
            parts.insert(0, _NAMELESS)
        if not parts or ".." in parts or "\0" in name or len(parts) > _DEPTH:
            return None
        if self._base is None:
            self._base = parts[0]
        return self._root.joinpath(*parts) if parts[0] == self._base else None

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        content = tar.extractfile(member)
        if content is None:
            self._leave_out(member, "it has no content")
            return
        with path.open("xb") as file:
            shutil.copyfileobj(content, file, 1 << 18)
        path.chmod(member.mode & 0o777 | 0o600)
        os.utime(path, (member.mtime, member.mtime))

    def _link(self, member: tarfile.TarInfo, path: Path) -> None:
        other = self._path(member.linkname)
        if other is None or not other.is_file():
            self._leave_out(member, "it is a hard link to something that is not copied")
        else:
            os.link(other, path)

    def _make_links(self) -> None:
        made = {}
        for path, target in self._links:
            if not os.path.lexists(path) and "\0" not in target:
                path.symlink_to(target)
                made[path] = target
        base = f"{os.path.join(self._root, self._base or '')}/"
        # Removing one may change where another one leads.
        while outside := [
            path
            for path, target in made.items()
            if target.startswith("/") or not f"{os.path.realpath(path)}/".startswith(base)
        ]:
            self.left_out = True
            for path in outside:
                path.unlink()
                self._told(
                    f"{_printable(str(path.relative_to(self._root)))} is not copied: it is a link "
                    f"to {_printable(made.pop(path))}, outside of what is copied"
                )


def _merge(source: Path, target: Path) -> None:
    """Move *source* to *target*; directories are merged, never through a link."""
    if not _is_directory(source) or not _is_directory(target):
        if _is_directory(target):
            raise IsADirectoryError(
                errno.EISDIR, "a directory is in the way of a file", str(target)
            )
        os.replace(source, target)
        return
    for entry in sorted(source.iterdir()):
        _merge(entry, target / entry.name)


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
