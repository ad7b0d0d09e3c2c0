"""Configurations are kept byte for byte, as long as their images are."""

import pytest

from nova_hyper.daemon.image.documents import Documents

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def documents(tmp_path):
    return Documents(tmp_path)


def test_a_document_comes_back_as_it_was(documents, tmp_path):
    documents.put(ONE, b"\xff {odd} \n", tmp_path / "new")
    assert documents.get(ONE) == b"\xff {odd} \n"
    assert not (tmp_path / "new").exists()


def test_what_is_not_kept_is_nothing(documents):
    assert documents.get(ONE) is None


def test_putting_again_changes_nothing(documents, tmp_path):
    documents.put(ONE, b"a", tmp_path / "new")
    documents.put(ONE, b"a", tmp_path / "new")
    assert documents.get(ONE) == b"a"


def test_what_no_image_has_is_swept(documents, tmp_path):
    for each in (ONE, TWO):
        documents.put(each, each.encode(), tmp_path / "new")
    assert documents.sweep({TWO}) == [f"configs/{ONE[7:]}.json"]
    assert documents.get(ONE) is None
    assert documents.get(TWO) == TWO.encode()
