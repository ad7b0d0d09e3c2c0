"""``clouds.yaml``: how clients find the cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cloud import config
from cloud.failure import CloudError
from cloud.site import REGION, Site

SYSTEM_FILE = Path("/etc/openstack/clouds.yaml")
CLOUDS = {"hyper": "admin", "hyper-demo": "demo"}
"""Cloud name and user; the project has the user's name."""


def entries(site: Site) -> dict[str, Any]:
    """Return the clouds of the site, as ``clouds.yaml`` has them."""
    return {
        cloud: {
            "auth": {
                "auth_url": f"{site.url('keystone')}/v3",
                "username": user,
                "password": site.passwords[user],
                "project_name": user,
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
            "region_name": REGION,
            "identity_api_version": "3",
            "compute_default_microversion": "2.96",
        }
        for cloud, user in CLOUDS.items()
    }


def write(site: Site, file: Path) -> None:
    """Put the site's clouds into *file* beside those of others.

    :raises CloudError: when *file* is not a ``clouds.yaml``.
    """
    content = _load(file)
    clouds = content.setdefault("clouds", {})
    clouds.update(entries(site))
    config.write(file, yaml.safe_dump(content, sort_keys=False))


def offered(site: Site) -> bool:
    """Tell whether the system's ``clouds.yaml`` has the site's clouds as they are now."""
    wanted = entries(site)
    found = _load(SYSTEM_FILE).get("clouds", {})
    return all(found.get(name) == entry for name, entry in wanted.items())


def remove(file: Path) -> None:
    """Take the site's clouds out of *file*, and remove it when no other is in it."""
    if not file.exists():
        return
    content = _load(file)
    clouds = content.get("clouds", {})
    others = {name: entry for name, entry in clouds.items() if name not in CLOUDS}
    if others == clouds:
        return
    content["clouds"] = others
    if others:
        config.write(file, yaml.safe_dump(content, sort_keys=False))
    else:
        file.unlink()


def _load(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as exc:
        raise CloudError(f"{file} is not valid YAML: repair it or move it away.") from exc
    if not isinstance(content, dict) or not isinstance(content.get("clouds", {}), dict):
        raise CloudError(f"{file} is not a clouds.yaml: repair it or move it away.")
    return content
