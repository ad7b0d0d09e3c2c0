"""Pulls into the image store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nova_hyper.daemon.image.registry import reference as references
from nova_hyper.daemon.image.registry.claims import Claims
from nova_hyper.daemon.image.registry.credentials import Credentials, from_file
from nova_hyper.daemon.image.registry.policy import RegistryPolicy
from nova_hyper.daemon.image.registry.reference import Reference
from nova_hyper.spec.image import Image

if TYPE_CHECKING:
    from nova_hyper.daemon.image.archive import FoundImage
    from nova_hyper.daemon.image.import_session import ImportSession
    from nova_hyper.daemon.image.store import ImageStore


class Puller:
    """Pulls images into *store*, as far as *policy* allows.

    :param arch: of this host, as images call it.
    :param max_bytes: of the compressed layers of an image.
    """

    def __init__(
        self, store: ImageStore, policy: RegistryPolicy, arch: str, max_bytes: int
    ) -> None:
        self._store = store
        self._policy = policy
        self._arch = arch
        self._max_bytes = max_bytes
        self._claims = Claims()

    def prepare(self, ref: str, username: str = "", password: str = "") -> PreparedPull:
        """Return the pull of *ref*, which asks nobody yet.

        :param username: with *password*; empty takes what the host's own file has, if any.
        :raises InvalidRequest: when *ref* is no reference.
        :raises PullRefused: when the host may not pull it.
        """
        reference = references.parse(ref)
        self._policy.check(reference)
        credentials = Credentials(username, password) if username else None
        if credentials is None and self._policy.auth_file is not None:
            credentials = from_file(self._policy.auth_file, reference)
        return PreparedPull(self, reference, credentials)

    def run(
        self,
        reference: Reference,
        credentials: Credentials | None,
        tell: Callable[[dict[str, Any]], None],
        cancelled: threading.Event,
    ) -> tuple[Image, bool]:
        """Pull; see :meth:`PreparedPull.run`."""
        # An HTTP client and what it needs: memory that a host without registries never spends.
        from nova_hyper.daemon.image.registry.pull import Pull

        pull = Pull(
            reference=reference,
            policy=self._policy,
            credentials=credentials,
            arch=self._arch,
            limit=self._max_bytes,
            tell=tell,
            cancelled=cancelled,
            claims=self._claims,
        )

        def collect(session: ImportSession) -> tuple[FoundImage, tuple[str, ...]]:
            return pull.run(session), (reference.name,)

        return self._store.add(collect)


class PreparedPull:
    """A pull that is allowed and has not begun."""

    def __init__(
        self, puller: Puller, reference: Reference, credentials: Credentials | None
    ) -> None:
        self._puller = puller
        self._reference = reference
        self._credentials = credentials

    def run(
        self, tell: Callable[[dict[str, Any]], None], cancelled: threading.Event
    ) -> tuple[Image, bool]:
        """Pull the image, in this thread; return it, and whether it is new here.

        :param tell: called with each event of ``POST /v1/images/pull`` but the last one.
        :param cancelled: makes it stop when set.
        :raises HyperError: when it fails; then nothing of it is left.
        """
        return self._puller.run(self._reference, self._credentials, tell, cancelled)
