"""The config drive of a server: what Nova makes for any driver, as bytes for hyperd."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nova.conf
from nova.api.metadata import base as instance_metadata
from nova.virt import configdrive
from oslo_concurrency import processutils
from oslo_log import log as logging

from nova_hyper import exception

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

_FORMAT = "iso9660"


def image(
    instance: Any, network_info: Any, injected_files: Sequence[tuple[str, Any]]
) -> bytes | None:
    """Return the image of the drive, None for a server without one.

    The administrator's password is not in it: the agent sets it, and everybody
    in a pod may read the drive.

    :raises PodFailed: when it cannot be made on this host.
    """
    if not configdrive.required_by(instance):
        return None
    if CONF.config_drive_format != _FORMAT:
        raise exception.PodFailed(
            reason=f"config_drive_format is {CONF.config_drive_format}, which a pod cannot mount; "
            f"set it to {_FORMAT} on this node"
        )
    LOG.info("Making a config drive", instance=instance)
    metadata = instance_metadata.InstanceMetadata(
        instance, content=list(injected_files), network_info=network_info
    )
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            configdrive.ConfigDriveBuilder(instance_md=metadata) as builder,
        ):
            path = Path(directory) / "config-drive.iso"
            builder.make_drive(str(path))
            return path.read_bytes()
    except processutils.ProcessExecutionError as exc:
        raise _failed(exc.stderr or exc.stdout or str(exc)) from exc
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            raise _failed(f"{CONF.mkisofs_cmd} is missing on this node; install it") from exc
        raise _failed(str(exc)) from exc


def _failed(reason: str) -> exception.PodFailed:
    return exception.PodFailed(reason=f"the config drive cannot be made: {reason.strip()}")
