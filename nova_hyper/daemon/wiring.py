"""Puts the daemon together: the one module that knows every adapter."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oslo_config import cfg

from nova_hyper.daemon.api.app import App
from nova_hyper.daemon.api.handlers import Handlers
from nova_hyper.daemon.api.server import Server
from nova_hyper.daemon.api.stream_handlers import StreamHandlers
from nova_hyper.daemon.api.streams import Streams
from nova_hyper.daemon.console.consoles import Consoles
from nova_hyper.daemon.console.settings import console_settings
from nova_hyper.daemon.disks import Disks
from nova_hyper.daemon.eventlog import EventLog
from nova_hyper.daemon.guest import assets
from nova_hyper.daemon.guest.bootfiles import BootFileStore
from nova_hyper.daemon.guest.channel import AgentChannel
from nova_hyper.daemon.guest.reactor import Reactor
from nova_hyper.daemon.hypervisor.adapter import LibvirtHypervisor
from nova_hyper.daemon.hypervisor.connection import Connection
from nova_hyper.daemon.hypervisor.domain import pod_id_of
from nova_hyper.daemon.hypervisor.facts import Facts
from nova_hyper.daemon.hypervisor.firmware import placed
from nova_hyper.daemon.hypervisor.probe import Probe, Verdict
from nova_hyper.daemon.image.config import oci_architecture
from nova_hyper.daemon.image.import_worker import WorkerSettings
from nova_hyper.daemon.image.registry.policy import RegistryPolicy
from nova_hyper.daemon.image.registry.puller import Puller
from nova_hyper.daemon.image.store import ImageStore
from nova_hyper.daemon.platform import HostPlatform
from nova_hyper.daemon.pods.commit import Commits
from nova_hyper.daemon.pods.dumps import Dumps
from nova_hyper.daemon.pods.helper import Helpers
from nova_hyper.daemon.pods.monitor import Monitor
from nova_hyper.daemon.pods.power import Power
from nova_hyper.daemon.pods.registry import Registry
from nova_hyper.daemon.pods.repository import Repository
from nova_hyper.daemon.pods.rescue import Rescues, needed_images
from nova_hyper.daemon.pods.reshaping import Reshaping
from nova_hyper.daemon.pods.restorepoint import RestorePoints
from nova_hyper.daemon.pods.sandbox import Sandboxes, Settings
from nova_hyper.daemon.pods.service import Pods
from nova_hyper.daemon.pods.sessions import Sessions
from nova_hyper.daemon.pods.setup import Setups
from nova_hyper.daemon.ports import GuestSession
from nova_hyper.daemon.usage import HostUsage
from nova_hyper.spec.errors import Conflict, GuestMissing, HyperError

LOG = logging.getLogger(__name__)

_GIB = 1024**3
# sockaddr_un has 108 bytes, the last of them 0; see unix(7).
_MAX_SOCKET_PATH = 107
_MIB = 1024**2


class _Channels:
    """The guests port on the agent's channel."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def connect(
        self,
        path: Path,
        fresh: bool,
        timeout: float,
        on_event: Callable[[dict[str, Any]], None],
        on_lost: Callable[[str], None],
    ) -> GuestSession:
        channel = AgentChannel(path, self._reactor, on_event, on_lost)
        channel.connect(fresh=fresh, timeout=timeout)
        return channel


class Daemon:
    """Everything of one ``hyperd``; made from its configuration, started, stopped."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Read what is on disk.

        :raises Conflict: when another hyperd uses the same ``state_dir``.
        :raises OSError: when a directory cannot be made.
        """
        state = Path(conf.state_dir)
        runtime = Path(conf.runtime_dir)
        _check_length(runtime)
        # Traversable: QEMU runs as a user of its own and opens layers and disks by path.
        for directory in (state, runtime):
            directory.mkdir(parents=True, exist_ok=True, mode=0o711)
            directory.chmod(0o711)
        self._lock = _lock(state)
        self._reactor = Reactor()
        self._registry = Registry()
        guests = _Channels(self._reactor)
        repository = Repository(state / "pods", runtime)
        self._events = EventLog(state / "events.jsonl", conf.pod.event_log_size)
        settings = _settings(conf)

        self._domain_prefix = conf.hypervisor.domain_prefix
        self._connection = Connection(conf.hypervisor.uri, self._connected, self._domain_event)
        hypervisor = LibvirtHypervisor(self._connection, conf.hypervisor.domain_prefix)
        probe = Probe(state / "virt_type.json", runtime, hypervisor, guests, settings.firmware)

        def guest() -> assets.GuestAssets:
            return assets.current(Path(conf.guest.directory))

        def judge(facts: Facts) -> Verdict:
            if conf.hypervisor.virt_type != "auto":
                return Verdict(conf.hypervisor.virt_type, "the configuration says so")
            return probe.judge(facts, guest())

        self._platform = HostPlatform(
            hypervisor.facts,
            judge,
            guest,
            state,
            conf.hypervisor.pod_overhead_mib,
            settings.min_memory_mib,
        )
        self._images = ImageStore(
            Path(conf.image.directory),
            max_image_bytes=conf.image.max_image_gib * _GIB,
            max_layers=conf.image.max_layer_disks,
            arch=self._platform.arch(),
            workers=WorkerSettings(
                user=conf.image.import_user,
                memory_mib=conf.image.import_memory_mib,
                cpu_s=conf.image.import_cpu_seconds,
                stall_s=conf.image.import_stall_timeout,
            ),
        )
        boot_files = BootFileStore(
            state / "boot", conf.guest.max_boot_file_mib * _MIB, self._registry.boot_files
        )
        disks = Disks()
        sandboxes = Sandboxes(
            repository,
            self._images,
            disks,
            hypervisor,
            guests,
            self._platform,
            guest,
            boot_files,
            settings,
        )
        self._pods = Pods(
            self._registry,
            repository,
            self._images,
            sandboxes,
            hypervisor,
            self._platform,
            self._events,
            settings,
        )
        power = Power(
            self._pods,
            sandboxes,
            hypervisor,
            repository,
            self._events,
            Dumps(
                Path(conf.pod.crash_dump_directory),
                conf.pod.max_crash_dumps,
                conf.pod.max_crash_dump_mib,
            ),
            guest,
        )
        restore_points = RestorePoints(self._pods, repository, disks, self._platform)
        reshaping = Reshaping(
            self._pods, repository, self._images, disks, self._platform, restore_points, settings
        )
        self._monitor = Monitor(
            self._registry, repository, sandboxes, hypervisor, self._pods, power
        )
        for pod in repository.load():
            self._registry.add(pod)
        self._images.owner_name = self._registry.name_of
        # Also what pods need that are left alone: another version may read their records.
        self._images.retain(repository.ids())
        for entry in self._registry:
            # What a rescue was given that was cut before its record was written.
            self._images.narrow(entry.id, needed_images(entry.pod))
        self._images.collect()
        sessions = Sessions(self._registry, repository, sandboxes, self._pods)
        self._consoles = Consoles(
            self._registry, sessions, repository.console_port, console_settings(conf)
        )
        self._events.on_event = self._consoles.take
        helpers = Helpers(
            self._pods,
            sandboxes,
            repository,
            self._images,
            disks,
            hypervisor,
            self._platform,
        )
        handlers = Handlers(
            self._pods,
            sessions,
            self._images,
            self._events,
            self._platform.describe,
            power,
            boot_files,
            HostUsage(self._images.usage, self._registry, repository),
            self._consoles,
            Setups(self._pods, sandboxes, repository, self._platform),
            reshaping,
            restore_points,
            Rescues(self._pods, repository, self._images, self._platform, settings),
        )
        puller = Puller(
            self._images,
            _registries(conf),
            oci_architecture(self._platform.arch()),
            conf.image.max_image_gib * _GIB,
        )
        self._streams = Streams(conf.api.max_streams)
        self._server = Server(
            App(
                handlers,
                StreamHandlers(
                    sessions,
                    self._images,
                    puller,
                    Commits(self._pods, sessions, helpers, self._images),
                ),
                self._streams,
                conf.api.max_body_mib * _MIB,
            ),
            Path(conf.api.socket),
            conf.api.socket_group,
            conf.api.threads,
        )

    def start(self) -> None:
        """Serve the API, and connect to libvirt in the background.

        :raises OSError: when another server has the socket; then nothing was touched.
        """
        self._server.start()
        self._reactor.start()
        self._monitor.start()
        self._connection.start()

    def stop(self) -> None:
        """Stop serving; the pods go on."""
        self._events.release()
        self._streams.stop()
        self._server.stop()
        self._consoles.stop()
        self._connection.stop()
        self._monitor.stop()
        self._reactor.stop()
        self._lock.close()

    def _connected(self) -> None:
        self._platform.refresh()
        self._monitor.reconcile()
        try:
            self._platform.verdict()
        except GuestMissing as exc:
            LOG.warning("%s", exc.message)
        except HyperError as exc:
            LOG.warning("cannot tell the accelerator yet: %s", exc.message)

    def _domain_event(self, name: str) -> None:
        pod_id = pod_id_of(name, self._domain_prefix)
        if pod_id is not None:
            self._monitor.domain_changed(pod_id)


def _check_length(runtime: Path) -> None:
    """Refuse a directory in which the agents' sockets would have too long paths.

    :raises OSError: naming the directory.
    """
    if len(os.fsencode(runtime / "agents" / f"{uuid.UUID(int=0)}.sock")) > _MAX_SOCKET_PATH:
        reason = "the path is too long for the agents' sockets; choose a shorter runtime_dir"
        raise OSError(errno.ENAMETOOLONG, reason, str(runtime))


def _registries(conf: cfg.ConfigOpts) -> RegistryPolicy:
    auth_file = conf.image.registry_auth_file
    return RegistryPolicy(
        allowed=tuple(conf.image.allowed_registries),
        insecure=tuple(conf.image.insecure_registries),
        ca_directory=Path(conf.image.registry_ca_directory),
        auth_file=Path(auth_file) if auth_file else None,
        downloads=conf.image.parallel_downloads,
    )


def _settings(conf: cfg.ConfigOpts) -> Settings:
    chosen = conf.hypervisor.firmware
    firmware = placed(Path(chosen), Path(conf.state_dir) / "firmware") if chosen else None
    return Settings(
        boot_timeout=conf.hypervisor.boot_timeout,
        request_timeout=conf.guest.request_timeout,
        stop_timeout=conf.pod.stop_timeout,
        min_memory_mib=conf.hypervisor.min_memory_mib,
        firmware=firmware,
        seccomp_profile=Path(conf.pod.seccomp_profile),
    )


def _lock(state: Path) -> Any:
    path = state / "hyperd.lock"
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        raise Conflict(
            f"another hyperd (process {owner}) uses {state}; stop it first, or give this one "
            "another state_dir"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
