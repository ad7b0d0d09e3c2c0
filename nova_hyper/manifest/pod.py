"""From a Pod manifest to the specification of a pod."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from nova_hyper.manifest import document, objects, schema, volumes
from nova_hyper.manifest.containers import Part, Surroundings, part
from nova_hyper.manifest.problems import Problems
from nova_hyper.manifest.reference import ImageReference
from nova_hyper.spec.nic import Dns
from nova_hyper.spec.pod import HostAlias, PodSpec, RestartPolicy
from nova_hyper.spec.volume import Volume

_RESTART = {
    "Always": RestartPolicy.ALWAYS,
    "OnFailure": RestartPolicy.ON_FAILURE,
    "Never": RestartPolicy.NEVER,
}
_GRACE_S = 30
_MIB = 1024**2
_MILLI = 1000


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A Pod as its manifest has it: all of a pod's specification but images, NICs and size.

    ``name`` and ``hostname`` are empty where the manifest leaves them open;
    ``inherit_dns`` says whether the resolver of the network is used too.
    """

    name: str
    init_containers: tuple[Part, ...]
    containers: tuple[Part, ...]
    volumes: tuple[Volume, ...]
    restart_policy: RestartPolicy
    termination_grace_s: float
    hostname: str
    dns: Dns
    inherit_dns: bool
    host_aliases: tuple[HostAlias, ...]
    sysctls: dict[str, str]
    labels: dict[str, str]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All containers in the order in which they start."""
        return self.init_containers + self.containers

    @property
    def references(self) -> tuple[ImageReference, ...]:
        """The images of :attr:`parts`."""
        return tuple(p.reference for p in self.parts)

    def check_size(self, vcpus: int, memory_mib: int, what: str) -> None:
        """Refuse a pod of which a container wants more than *what* (``the flavor``) has.

        What containers request together counts as well; init containers, which
        run alone, each for itself.

        :raises ManifestInvalid: with both figures of each.
        """
        problems = Problems()
        for each in self.parts:
            limits = each.container.resources
            _compare(
                problems,
                f"{each.path}.resources",
                max(limits.memory_bytes or 0, each.requests.memory_bytes),
                max(limits.cpu_millis or 0, each.requests.cpu_millis),
                (vcpus, memory_mib, what),
            )
        if not problems.count:
            _compare(
                problems,
                "spec.containers: what they request together",
                sum(p.requests.memory_bytes for p in self.containers),
                sum(p.requests.cpu_millis for p in self.containers),
                (vcpus, memory_mib, what),
            )
        problems.check()

    def complete(self, base: PodSpec, images: Sequence[str]) -> PodSpec:
        """Return *base* as this manifest's pod.

        *base* gives id, name, size, interfaces and what the manifest leaves
        open; *images* are the host's images of :attr:`parts`, in their order.
        """
        made = tuple(
            dataclasses.replace(p.container, image=image)
            for p, image in zip(self.parts, images, strict=True)
        )
        split = len(self.init_containers)
        inherited = base.dns if self.inherit_dns else Dns()
        return dataclasses.replace(
            base,
            init_containers=made[:split],
            containers=made[split:],
            volumes=self.volumes,
            restart_policy=self.restart_policy,
            termination_grace_s=self.termination_grace_s,
            hostname=self.hostname or base.hostname,
            dns=Dns(
                _unique(inherited.nameservers + self.dns.nameservers),
                _unique(inherited.search + self.dns.search),
            ),
            host_aliases=self.host_aliases,
            sysctls=self.sysctls,
            labels={**self.labels, **base.labels},
        )


def parse(data: bytes) -> Manifest:
    """Return the Pod in *data*: one document of YAML, or several with ConfigMaps and Secrets.

    :raises ManifestInvalid: naming every place that is wrong.
    """
    problems = Problems()
    pods, others = [], []
    for number, found in enumerate(document.load(data), 1):
        kind = found.get("kind")
        if kind == "Pod":
            pods.append(found)
        elif kind in (objects.CONFIG_MAP, objects.SECRET):
            others.append((number, found))
        else:
            problems.add(
                f"document {number}",
                f"is of kind {str(kind)[:60]!r}; only Pod, ConfigMap and Secret are supported",
            )
    if len(pods) != 1:
        problems.add("the file", f"must have exactly one Pod, not {len(pods)}")
    problems.check()
    known = objects.read(others, problems)
    (pod,) = pods
    schema.check(pod, "Pod", "", problems)
    problems.check()
    manifest = _manifest(pod, known, problems)
    problems.check()
    return manifest


def _manifest(pod: dict[str, Any], known: objects.Objects, problems: Problems) -> Manifest:
    spec, metadata = pod["spec"], pod.get("metadata", {})
    security = spec.get("securityContext", {})
    made = volumes.volumes(spec, known, security.get("fsGroup"), problems)
    around = Surroundings(metadata, security, {v.name: v for v in made}, known)
    parts = {
        key: tuple(
            part(container, around, f"spec.{key}[{index}]", problems)
            for index, container in enumerate(spec.get(key, ()))
        )
        for key in ("initContainers", "containers")
    }
    _check_names(parts["initContainers"] + parts["containers"], problems)
    return Manifest(
        name=metadata.get("name", ""),
        init_containers=parts["initContainers"],
        containers=parts["containers"],
        volumes=made,
        restart_policy=_RESTART[spec.get("restartPolicy", "Always")],
        termination_grace_s=float(spec.get("terminationGracePeriodSeconds", _GRACE_S)),
        hostname=spec.get("hostname", ""),
        dns=_dns(spec, problems),
        inherit_dns=spec.get("dnsPolicy", "Default") == "Default",
        host_aliases=_aliases(spec, problems),
        sysctls={s["name"].replace("/", "."): s["value"] for s in security.get("sysctls", ())},
        labels={**metadata.get("annotations", {}), **metadata.get("labels", {})},
    )


def _check_names(parts: tuple[Part, ...], problems: Problems) -> None:
    seen: Mapping[str, str] = {}
    for each in parts:
        name = each.container.name
        if name in seen:
            problems.add(f"{each.path}.name", f"is {name}, as of {seen[name]}")
        seen = {**seen, name: each.path}


def _dns(spec: Mapping[str, Any], problems: Problems) -> Dns:
    config = spec.get("dnsConfig", {})
    for index, server in enumerate(config.get("nameservers", ())):
        _check_address(server, f"spec.dnsConfig.nameservers[{index}]", problems)
    if spec.get("dnsPolicy") == "None" and not config.get("nameservers"):
        problems.add("spec.dnsConfig.nameservers", "is missing, which dnsPolicy None needs")
    return Dns(tuple(config.get("nameservers", ())), tuple(config.get("searches", ())))


def _aliases(spec: Mapping[str, Any], problems: Problems) -> tuple[HostAlias, ...]:
    found = []
    for index, alias in enumerate(spec.get("hostAliases", ())):
        _check_address(alias["ip"], f"spec.hostAliases[{index}].ip", problems)
        found.append(HostAlias(alias["ip"], tuple(alias["hostnames"])))
    return tuple(found)


def _check_address(address: str, path: str, problems: Problems) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        problems.add(path, f"is {address[:60]!r}, which is no IP address")


def _compare(
    problems: Problems, path: str, memory: int, cpu: int, available: tuple[int, int, str]
) -> None:
    vcpus, memory_mib, what = available
    if memory > memory_mib * _MIB:
        problems.add(
            path, f"ask for {-(-memory // _MIB)} MiB of memory, {what} has {memory_mib} MiB"
        )
    if cpu > vcpus * _MILLI:
        problems.add(path, f"ask for {cpu / _MILLI:g} CPUs, {what} has {vcpus}")


def _unique(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
