import io

import pytest

from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.spec.errors import ImageInvalid
from tests.unit.daemon.image.hostile import MIB


@pytest.fixture
def small_store(tmp_path):
    return ImageStore(tmp_path / "images", max_image_bytes=64 * MIB, max_layers=16, arch="x86_64")


@pytest.fixture
def refusal(small_store, tmp_path):
    """Import what must be refused; return the message, once nothing of it is left."""

    def refuse(source, error=ImageInvalid):
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        with pytest.raises(error) as caught:
            small_store.import_archive(stream)
        left = [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
        assert {path.name for path in left} <= {"images.json", "leases.json"}
        assert small_store.list() == []
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 1200
        return caught.value.message

    return refuse
