"""What commands do in the guests of fakes: a thread plays the guest's side of a stream."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator

from nova_hyper.spec.stream import Terminal
from tests.unit.daemon.fakes import PATIENCE_S, FakeStream

FILES = {"/etc/hosts": b"127.0.0.1 localhost\n"}


class FakeExec:
    """The client's side of a stream into a fake guest."""

    def __init__(self, guest: FakeStream) -> None:
        self.guest = guest
        self.exit_code: int | None = None

    def __enter__(self) -> FakeExec:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while (part := self.guest.read(PATIENCE_S)) is not None:
            yield part[0] + 1, part[1]
        self.exit_code = self.guest.exit_code

    def write(self, data: bytes) -> None:
        self.guest.write(data, None)

    def end_input(self) -> None:
        self.guest.end_input()

    def resize(self, terminal: Terminal) -> None:
        self.guest.resize(terminal.rows, terminal.cols)

    def signal(self, name: str) -> None:
        self.guest.signal(name)

    def close(self) -> None:
        self.guest.close()


def serve(stream: FakeStream, files: dict[str, bytes] | None = None) -> FakeStream:
    """Have a thread do what *stream* asks for; return it."""
    threading.Thread(target=_run, args=(stream, files or FILES), daemon=True).start()
    return stream


def _run(stream: FakeStream, files: dict[str, bytes]) -> None:
    if stream.op == "exec.start":
        _execute(stream, stream.args["argv"])
    elif stream.op == "container.attach":
        stream.say(b"hello\n")
        stream.end(4)
    elif stream.op == "upper.export":
        stream.say(tar_of("written", b"by the container"))
        stream.end(None)
    elif stream.op == "archive.get":
        stream.say(tar_of(stream.args["path"], files[stream.args["path"]]))
        stream.end(None)
    else:
        stream.wait_for(lambda: None in stream.written)
        data = b"".join(part for part in stream.written if isinstance(part, bytes))
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar:
                    files[f"{stream.args['path']}/{member.name}"] = tar.extractfile(member).read()
        except tarfile.TarError:
            stream.end(None, "it is no tar archive")
        else:
            stream.end(None)


def tar_of(path: str, content: bytes) -> bytes:
    """A tar as of ``archive.get``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(path.rpartition("/")[2])
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _execute(stream: FakeStream, argv: list[str]) -> None:
    match argv:
        case ["echo", *words]:
            stream.say(" ".join(words).encode() + b"\n")
            stream.end(0)
        case ["complain"]:
            stream.say(b"no\n", channel=1)
            stream.end(3)
        case ["cat"]:
            stream.wait_for(lambda: None in stream.written)
            stream.say(b"".join(part for part in stream.written if isinstance(part, bytes)))
            stream.end(0)
        case ["size"]:
            size = stream.args["tty"]
            stream.say(b"%d %d\n" % (size["rows"], size["cols"]))
            stream.wait_for(lambda: any(isinstance(part, tuple) for part in stream.written))
            stream.say(b"%d %d\n" % next(x for x in stream.written if isinstance(x, tuple)))
            stream.end(0)
        case ["trap"]:
            stream.wait_for(lambda: any(isinstance(part, str) for part in stream.written))
            stream.say(next(x for x in stream.written if isinstance(x, str)).encode())
            stream.end(143)
        case ["die"]:
            stream.lose()
        case ["sleep"]:
            stream.closed.wait(PATIENCE_S)
