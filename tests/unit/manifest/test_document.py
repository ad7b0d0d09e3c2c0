"""Reading YAML within bounds, and telling manifests from other text."""

from __future__ import annotations

import json

import pytest

from nova_hyper.manifest import document
from nova_hyper.manifest.problems import ManifestInvalid
from tests.unit.manifest import manifests

PLAIN = manifests.text(manifests.POD)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        b"---\n" + PLAIN,
        b"# a comment\n\n" + PLAIN,
        b"\xef\xbb\xbf" + PLAIN,
        manifests.text(manifests.SETTINGS, manifests.POD),
        json.dumps(manifests.POD).encode(),
        json.dumps(manifests.POD, indent=2).encode(),
        b"apiVersion: v1\nkind: 'Pod' # mine\nspec: [broken",
        b"kind: Pod\r\napiVersion: v1\r\n",
    ],
)
def test_a_pod_manifest_is_known_by_its_text(data):
    assert document.is_pod(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"#!/bin/sh\ncat > pod.yaml <<EOF\napiVersion: v1\nkind: Pod\nEOF\n",
        b"#cloud-config\napiVersion: v1\nkind: Pod\n",
        b"#cloud-config\nwrite_files:\n- content: |\n    apiVersion: v1\n    kind: Pod\n",
        b"## template: jinja\napiVersion: v1\nkind: Pod\n",
        b"apiVersion: apps/v1\nkind: Deployment\n",
        b"apiVersion: v1\nkind: PodList\n",
        b"kind: Pod\n",
        b"Content-Type: multipart/mixed\n\nkind: Pods\n",
        b"\x1f\x8b\x08\x00kind: Pod\napiVersion: v1",
        b"apiVersion: v1\nkind: Pod\n\0",
        b"apiVersion: v1\nkind: Pod\n" + b"#" * document.MAX_BYTES,
        manifests.text(manifests.SETTINGS),
    ],
)
def test_what_is_for_somebody_else_is_no_pod_manifest(data):
    assert not document.is_pod(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: [1", "line 1"),
        (b"a: 1\n b: 2", "line 2"),
        (b"a: &x [1]\nb: *x", "line 2: aliases are not supported"),
        (b"a: {<<: {b: 1}}\n1: 2", "line 2: the key 1 must be a string"),
        (b"a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
        (b"a: !!binary AAAA", "line 1: the tag"),
        (b"a: !mine x", "line 1: the tag '!mine' is not supported"),
        (b"- a", "document 1 is no object"),
        (b"a: 1\n---\ntext", "document 2 is no object"),
        (b"a: " + b"[" * 40 + b"]" * 40, "nested more than 32 deep"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: \x01", "not YAML"),
        (b"a: " + b"9" * 5000, "line 1: a number has more than 64 digits"),
        (b"a: 0x" + b"f" * 5000, "line 1: a number has more than 64 digits"),
        (b"a: !!bool maybe", "line 1: 'maybe' is not of the type !!bool"),
        (b"a: !!int ''", "line 1: '' is not of the type !!int"),
        (b'a: "\\ud800"', "has half of a character"),
        (b"a: 1\n---\n" * 70, "more than 64 documents"),
        (b" " * (document.MAX_BYTES + 1), "more than the 262144 that are allowed"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(data, said):
    with pytest.raises(ManifestInvalid) as caught:
        document.load(data)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2020-01-01", "2020-01-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("10", 10),
        ("0644", 0o644),
        ("0o644", 0o644),
        ("0x10", 16),
        ("1e3", 1000),
        ("8080.0", 8080),
        ("!!int 5", 5),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("1.5", 1.5),
        ("yes", True),
        ("'yes'", "yes"),
        ("=", "="),
    ],
)
def test_scalars_are_read_as_kubernetes_reads_them(written, read):
    assert document.load(f"a: {written}".encode()) == [{"a": read}]


def test_null_is_as_good_as_absent():
    assert document.load(b"a: null\nb: {c: ~, d: [{e: }]}\n---\n---\n") == [{"b": {"d": [{}]}}]
