"""What a server is given before it runs: files, keys, a password, a config drive, device tags."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from typing import Any

import nova.conf
from nova import crypto
from nova import exception as nova_exception
from nova.api.metadata import password as metadata_password
from oslo_log import log as logging
from oslo_serialization import base64 as oslo_base64
from oslo_utils import secretutils

from nova_hyper.client import Hyperd
from nova_hyper.spec.errors import GuestFailed
from nova_hyper.spec.setup import InjectedFile, Setup
from nova_hyper.virt import config_drive, device_tags, errors

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

_ROOT = "root"
_METHOD = "SHA-512"
# libcrypt answers in memory of its own, the same for all threads.
_crypt = threading.Lock()


def admin_user(image_meta: Any) -> str:
    """Return whose keys and password they are: the image's ``os_admin_user``, or root."""
    return image_meta.properties.get("os_admin_user") or _ROOT


def hashed(password: str) -> str:
    """Return what stands for *password* in a shadow file, salted anew."""
    with _crypt:
        return secretutils.crypt_password(password, secretutils.crypt_mksalt(_METHOD))


def keys(instance: Any) -> tuple[str, ...]:
    """Return the lines for ``authorized_keys``; an X.509 certificate gives none."""
    data = instance.key_data if instance.obj_attr_is_set("key_data") else None
    lines = (line.strip() for line in (data or "").splitlines())
    found = tuple(line for line in lines if line and not line.startswith("#"))
    return () if any(line.startswith("-----BEGIN") for line in found) else found


def files(injected_files: Sequence[tuple[str, Any]] | None) -> tuple[InjectedFile, ...]:
    """Return Nova's *injected_files*, paths and contents; a path is the root's in any case."""
    found = []
    for path, content in injected_files or ():
        data = content.encode() if isinstance(content, str) else content
        found.append(InjectedFile("/" + path.lstrip("/"), base64.b64encode(data).decode()))
    return tuple(found)


class Birth:
    """Gives servers what Nova has for them."""

    def __init__(self, hyperd: Hyperd) -> None:
        self._hyperd = hyperd

    def drive(
        self, context: Any, instance: Any, network_info: Any, injected_files: Sequence[Any]
    ) -> bytes | None:
        """Note the places of tagged devices, and return the config drive, None without one.

        :raises PodFailed: when it cannot be made on this host.
        """
        instance.device_metadata = device_tags.metadata(context, instance, network_info)
        return config_drive.image(instance, network_info, injected_files)

    def give(
        self,
        instance: Any,
        image_meta: Any,
        injected_files: Sequence[Any],
        admin_password: str | None,
    ) -> None:
        """Give the pod of *instance*, whose containers have not started, all but the drive.

        Keys and a password need a user in the image, files do not.

        :raises HyperError: hyperd's own.
        """
        wanted = Setup(
            files=files(injected_files),
            user=admin_user(image_meta),
            keys=keys(instance),
            password=hashed(admin_password)
            if admin_password and CONF.hyper.inject_password
            else "",
        )
        if not (wanted.files or wanted.keys or wanted.password):
            return
        try:
            done = self._hyperd.setup_pod(instance.uuid, wanted)
        except GuestFailed as error:
            # Nova makes a password for everybody: whoever did not ask for it can do without.
            if wanted.files or wanted.keys or error.details.get("feature") is None:
                raise
            LOG.warning("The admin password is not set: %s", error, instance=instance)
            return
        if wanted.keys and not done.keys:
            LOG.warning(
                "The key pair is nobody's: no container has the user %s with a home directory",
                wanted.user,
                instance=instance,
            )
        if wanted.password and not done.password:
            LOG.info(
                "The admin password is not set: no container has %s in /etc/shadow",
                wanted.user,
                instance=instance,
            )

    def set_password(self, instance: Any, new_password: str) -> None:
        """Give the administrator of a running server another password.

        :raises SetAdminPasswdNotSupported: when no container has that user in a shadow file.
        """
        wanted = Setup(user=admin_user(instance.image_meta), password=hashed(new_password))
        with errors.operating(instance):
            done = self._hyperd.setup_pod(instance.uuid, wanted)
        if not done.password:
            raise nova_exception.SetAdminPasswdNotSupported()
        _keep_for_owner(instance, new_password)


def _keep_for_owner(instance: Any, password: str) -> None:
    """Let the owner of an RSA key read it: ``LibvirtDriver.set_admin_password`` does."""
    key = instance.key_data if instance.obj_attr_is_set("key_data") else None
    if key and key.startswith("ssh-rsa"):
        encrypted = oslo_base64.encode_as_text(crypto.ssh_encrypt_text(key, password))
        instance.system_metadata.update(metadata_password.convert_password(None, encrypted))
        instance.save()
