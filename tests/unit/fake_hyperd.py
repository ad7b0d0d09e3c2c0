"""A hyperd in memory: the same Protocol as the client, the same errors, no guests."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Iterable
from typing import Any

from nova_hyper.spec.errors import (
    HyperError,
    ImageInUse,
    ImageInvalid,
    ImageNotFound,
    PodExists,
    PodNotFound,
)
from nova_hyper.spec.event import Event, EventKind, EventPage
from nova_hyper.spec.host import Cpu, Host, Version
from nova_hyper.spec.image import Image, ImageConfig, Layer
from nova_hyper.spec.nic import Dns, Nic
from nova_hyper.spec.pod import ContainerState, ContainerStatus, Pod, PodSpec, PodState

HOST = Host(
    hostname="hyper-1",
    uptime_s=1000,
    cpu=Cpu(arch="x86_64", vendor="Intel", model="Skylake", cores=4, features=("avx",)),
    vcpus=4,
    memory_mib=8192,
    memory_used_mib=1024,
    disk_gib=100,
    disk_free_gib=80,
    disk_used_gib=20,
    virt_type="qemu",
    virt_reason="KVM does not work here",
    hypervisor_version=7002000,
    libvirt_version=9000000,
    pod_overhead_mib=96,
    min_memory_mib=32,
    guest_kernel="6.1",
    guest_agent="1",
    state_dir="/var/lib/hyperd",
    pods=0,
)
NOT_AN_ARCHIVE = b"not an archive"


class FakeHyperd:
    """``fail_next`` maps a method's name to the error that its next call raises."""

    def __init__(self) -> None:
        self.fail_next: dict[str, HyperError] = {}
        self.calls: list[str] = []
        self.imports: list[str] = []
        self.lost = False
        self._images: dict[str, Image] = {}
        self._pods: dict[str, Pod] = {}
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._consoles: dict[str, bytes] = {}

    def _called(self, name: str) -> None:
        self.calls.append(name)
        error = self.fail_next.pop(name, None)
        if error is not None:
            raise error

    def version(self) -> Version:
        self._called("version")
        return Version(api="1.0", hyperd="0.1")

    def host(self) -> Host:
        self._called("host")
        return dataclasses.replace(HOST, pods=len(self._pods))

    def openapi(self) -> dict[str, Any]:
        return {"openapi": "3.1.0"}

    # Images

    def import_image(self, name: str, chunks: Iterable[bytes]) -> Image:
        data = b"".join(chunks)
        self._called("import_image")
        self.imports.append(name)
        if data.startswith(NOT_AN_ARCHIVE):
            raise ImageInvalid("not a docker or OCI archive: it is no tar file")
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with self._changed:
            known = self._images.get(digest)
            names = tuple(dict.fromkeys((*(known.names if known else ()), name)))
            image = Image(
                id=digest,
                names=names,
                architecture="amd64",
                os="linux",
                created="",
                layers=(Layer("sha256:" + "0" * 64, 1 << 20, 2 << 20),),
                config=ImageConfig(cmd=("/bin/sh",)),
            )
            self._images[digest] = image
        return image

    def images(self) -> tuple[Image, ...]:
        self._called("images")
        return tuple(self._images.values())

    def image(self, ref: str) -> Image:
        self._called("image")
        for image in self._images.values():
            if ref == image.id or ref in image.names:
                return image
        raise ImageNotFound(f"there is no image {ref} on this host")

    def delete_image(self, ref: str) -> None:
        self._called("delete_image")
        image = self.image(ref)
        if any(image.id == c.image_id for pod in self._pods.values() for c in pod.containers):
            raise ImageInUse(f"image {ref} is in use by a pod")
        names = tuple(name for name in image.names if name != ref)
        if names and ref != image.id:
            self._images[image.id] = dataclasses.replace(image, names=names)
        else:
            del self._images[image.id]

    # Pods

    def _update(self, pod: Pod, kind: EventKind | None = None, **changes: Any) -> Pod:
        with self._changed:
            pod = dataclasses.replace(pod, **changes)
            self._pods[pod.spec.id] = pod
            if kind is not None:
                self._events.append(
                    Event(
                        seq=len(self._events) + 1,
                        at=time.time(),
                        kind=kind,
                        pod_id=pod.spec.id,
                        pod_name=pod.spec.name,
                        exit_code=pod.exit_code,
                    )
                )
            self._changed.notify_all()
        return pod

    def create_pod(self, spec: PodSpec) -> Pod:
        self._called("create_pod")
        known = self._pods.get(spec.id)
        if known is not None:
            if known.spec != spec:
                raise PodExists(f"pod {spec.id} exists with another spec")
            return known
        statuses = tuple(
            ContainerStatus(c.name, c.image, self.image(c.image).id, ContainerState.CREATED)
            for c in spec.containers
        )
        pod = Pod(spec, PodState.READY, statuses, created_at=time.time(), qemu_pid=4242)
        self._consoles[spec.id] = b""
        return self._update(pod, EventKind.CREATED)

    def pods(self) -> tuple[Pod, ...]:
        self._called("pods")
        return tuple(self._pods.values())

    def pod(self, ref: str) -> Pod:
        self._called("pod")
        for pod in self._pods.values():
            if ref in (pod.spec.id, pod.spec.name):
                return pod
        raise PodNotFound(f"there is no pod {ref}")

    def boot_pod(
        self, ref: str, nics: tuple[Nic, ...] | None = None, dns: Dns | None = None
    ) -> Pod:
        self._called("boot_pod")
        pod = self.pod(ref)
        if pod.state in (PodState.READY, PodState.RUNNING):
            return pod
        spec = dataclasses.replace(
            pod.spec,
            nics=pod.spec.nics if nics is None else nics,
            dns=pod.spec.dns if dns is None else dns,
        )
        return self._update(pod, spec=spec, state=PodState.READY, exit_code=None, qemu_pid=4243)

    def start_pod(self, ref: str) -> Pod:
        self._called("start_pod")
        pod = self.boot_pod(ref)
        if pod.state is PodState.RUNNING:
            return pod
        running = tuple(
            dataclasses.replace(c, state=ContainerState.RUNNING) for c in pod.containers
        )
        self._consoles[pod.spec.id] += b"hello\n"
        return self._update(
            pod,
            EventKind.STARTED,
            state=PodState.RUNNING,
            containers=running,
            started_at=time.time(),
        )

    def stop_pod(self, ref: str, grace_s: int | None = None, force: bool = False) -> Pod:
        self._called("stop_pod")
        pod = self.pod(ref)
        if pod.state in (PodState.STOPPED, PodState.CRASHED):
            return pod
        return self._down(pod, EventKind.STOPPED, PodState.STOPPED, 137 if force else 143)

    def delete_pod(self, ref: str) -> None:
        self._called("delete_pod")
        pod = self._update(self.pod(ref), EventKind.DELETED, state=PodState.DELETING)
        del self._pods[pod.spec.id]

    def console(self, ref: str, max_bytes: int) -> bytes:
        self._called("console")
        return self._consoles[self.pod(ref).spec.id][-max_bytes:]

    def events(self, after: int, wait: float) -> EventPage:
        self._called("events")
        with self._changed:
            if after < 0:
                return EventPage((), len(self._events))
            self._changed.wait_for(lambda: len(self._events) > after or self.lost, wait)
            lost, self.lost = self.lost, False
            return EventPage(tuple(self._events[after:]), len(self._events), lost=lost)

    # What happens by itself

    def exit(self, ref: str, exit_code: int = 0) -> Pod:
        """The last container of a pod ends."""
        return self._down(self.pod(ref), EventKind.EXITED, PodState.STOPPED, exit_code)

    def crash(self, ref: str) -> Pod:
        """The micro-VM of a pod dies."""
        return self._down(self.pod(ref), EventKind.CRASHED, PodState.CRASHED, None)

    def lose_events(self) -> None:
        """The next page says that events are gone."""
        with self._changed:
            self.lost = True
            self._changed.notify_all()

    def write(self, ref: str, data: bytes) -> None:
        """A container of a pod writes to its stdout."""
        self._consoles[self.pod(ref).spec.id] += data

    def _down(self, pod: Pod, kind: EventKind, state: PodState, exit_code: int | None) -> Pod:
        exited = tuple(
            dataclasses.replace(c, state=ContainerState.EXITED, exit_code=exit_code)
            for c in pod.containers
        )
        return self._update(
            pod, kind, state=state, containers=exited, exit_code=exit_code, qemu_pid=None
        )
