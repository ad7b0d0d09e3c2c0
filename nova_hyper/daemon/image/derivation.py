"""The configuration of an image that is another one with a layer on top."""

from __future__ import annotations

import json
from typing import Any

from nova_hyper.daemon.image.changes import apply_changes
from nova_hyper.daemon.image.document import a_list, an_object, parse_json

_OF_A_CONTAINER = ("container", "container_config")
"""What docker once kept of the container that an image was made of."""


def derive(document: bytes, diff_id: str, changes: tuple[str, ...], created: str) -> bytes:
    """Return the configuration of the image of *document* with the layer *diff_id* on it.

    :param changes: see :func:`..changes.apply_changes`.
    :param created: RFC 3339.
    :raises InvalidRequest: when a change cannot be.
    :raises ImageInvalid: when *document* is no configuration.
    """
    what = "the image configuration"
    data = dict(an_object(parse_json(document, what), what))
    for key in _OF_A_CONTAINER:
        data.pop(key, None)
    config = dict(an_object(data.get("config"), "config"))
    apply_changes(config, changes)
    rootfs = dict(an_object(data.get("rootfs"), "rootfs"))
    before = a_list(rootfs.get("diff_ids"), "diff_ids")
    data["config"] = config
    data["rootfs"] = {**rootfs, "diff_ids": [*before, diff_id]}
    data["created"] = created
    data["history"] = [
        *_history(data.get("history"), len(before)),
        {"created": created, "created_by": " ".join(("hyperd commit", *changes))},
    ]
    return json.dumps(data, separators=(",", ":")).encode()


def _history(value: Any, layers: int) -> list[Any]:
    """Return a history with one entry for each layer: other tools count them."""
    found = a_list(value, "history")
    full = [entry for entry in found if not an_object(entry, "history").get("empty_layer")]
    return found if len(full) == layers else [{"created_by": ""}] * layers
