"""The data of Glance images: streamed, or verified first where their signature counts."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import nova.conf
from cryptography.exceptions import InvalidSignature
from nova import exception as nova_exception

from nova_hyper import exception

CONF = nova.conf.CONF

_CHUNK = 1 << 20
_DIGITS = 8


def certificates(instance: Any) -> tuple[str, ...]:
    """Return the ids of the certificates that the images of *instance* must be signed with.

    Those of the server, or else the operator's; none where signatures do not count.
    """
    own = instance.trusted_certs
    if own:
        return tuple(own.ids)
    if CONF.glance.enable_certificate_validation:
        return tuple(CONF.glance.default_trusted_certificate_ids)
    return ()


def mark(certs: tuple[str, ...]) -> str:
    """Return what distinguishes data verified with *certs* in a name, empty without any."""
    if not certs:
        return ""
    return hashlib.sha256("\n".join(sorted(certs)).encode()).hexdigest()[:_DIGITS]


def chunks(
    image_api: Any, context: Any, image_id: str, certs: tuple[str, ...] = ()
) -> Iterator[bytes]:
    """Return the image's data, of which nothing comes before all is verified with *certs*.

    glanceclient verifies the checksum, and raises at the end when it is wrong.

    :raises ImageUnreadable: while reading, when Glance does not deliver it.
    :raises ImageUnacceptable: when its signature is wrong.
    :raises NovaException: when there is none, or its certificate is not trusted.
    """
    if certs or CONF.glance.verify_glance_signatures:
        return _verified(image_api, context, image_id, certs)
    # Without a target Nova returns the iterator; opened here, so that what is wrong with the
    # image itself (it is gone, or not ours) is raised as Nova's own exception.
    return _guarded(image_api.download(context, image_id) or (), image_id)


def _verified(
    image_api: Any, context: Any, image_id: str, certs: tuple[str, ...]
) -> Iterator[bytes]:
    from nova import objects

    os.makedirs(CONF.instances_path, exist_ok=True)
    file = tempfile.TemporaryFile(dir=CONF.instances_path)  # noqa: SIM115 (closed by the reader)
    try:
        # Where Nova verifies without a target, what it returns has been read to its end.
        trusted = objects.TrustedCerts(ids=list(certs)) if certs else None
        image_api.download(context, image_id, data=file, trusted_certs=trusted)
    except BaseException as exc:
        file.close()
        if isinstance(exc, InvalidSignature):
            raise nova_exception.ImageUnacceptable(
                image_id=image_id, reason="its signature does not fit its data"
            ) from exc
        raise
    file.seek(0)
    return _all_of(file)


def _all_of(file: Any) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _guarded(source: Iterable[bytes], image_id: str) -> Iterator[bytes]:
    try:
        yield from source
    except Exception as exc:
        raise exception.ImageUnreadable(
            image_id=image_id, reason=str(exc) or type(exc).__name__
        ) from exc
