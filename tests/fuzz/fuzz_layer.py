"""Fuzzer of everything between a layer's tar stream and its squashfs."""

from __future__ import annotations

import io
import sys

import atheris

with atheris.instrument_imports(include=["nova_hyper.daemon.image"]):
    from nova_hyper.daemon.image import tar
    from nova_hyper.daemon.image.completion import completion, completion_tar
    from nova_hyper.daemon.image.limits import Limits
    from nova_hyper.daemon.image.recipe import RecordedStream, Recorder, restore
    from nova_hyper.daemon.image.skeleton import dump_skeleton, load_skeleton, skeleton_of
    from nova_hyper.daemon.image.squashfs import ZERO_BLOCK, SquashfsWriter
    from nova_hyper.daemon.image.stream import ByteStream
    from nova_hyper.daemon.image.tar import TarReader
    from nova_hyper.daemon.image.tree import LayerTree
    from nova_hyper.spec.errors import ImageInvalid

# A fuzzer does not find checksums.
tar._checksum_matches = lambda block: True
_LIMITS = Limits(unpacked=8 << 20, entries=2000, names=1 << 20)


def one_input(data: bytes) -> None:
    """Convert *data*: it is refused in words, or gives a layer that gives *data* back."""
    source = io.BytesIO(data)
    squashfs, recipe = io.BytesIO(), io.BytesIO()
    writer = SquashfsWriter(squashfs, None)
    recorder = Recorder(recipe)
    stream = RecordedStream(source.read, "the layer", recorder)
    reader, tree = TarReader(stream), LayerTree(_LIMITS)
    try:
        while member := reader.next():
            file = tree.add(member)
            if file is not None and member.size:
                stream.pause()
                writer.add_file(file, reader.blocks(member, len(ZERO_BLOCK), ZERO_BLOCK))
                stream.resume()
                recorder.content(file, member.sparse)
        stream.drain()
        root = tree.finish()
        size = writer.finish(root)
        recorder.finish()
        skeleton = skeleton_of(root)
    except ImageInvalid as exc:
        assert exc.message.isprintable(), exc.message
        assert len(exc.message) < 1000
        return
    finally:
        writer.close()
    assert size == len(squashfs.getvalue())
    assert load_skeleton(dump_skeleton(skeleton)) == skeleton
    restored = b"".join(restore(recipe, squashfs))
    assert restored == data
    try:
        directories = completion([skeleton, skeleton])
    except ImageInvalid:
        return
    again = TarReader(ByteStream(io.BytesIO(completion_tar(directories)).read))
    while again.next():
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
