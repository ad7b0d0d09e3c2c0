"""Every key that is supported, and what it becomes."""

from __future__ import annotations

import pytest

from nova_hyper.manifest import schema
from nova_hyper.manifest.pod import parse
from nova_hyper.spec.container import Port, Resources
from nova_hyper.spec.nic import Dns
from nova_hyper.spec.pod import HostAlias, PodSpec, RestartPolicy
from nova_hyper.spec.probe import ExecCheck, HttpCheck, HttpHeader, Probe, TcpCheck
from nova_hyper.spec.volume import Medium, Mount, Volume, VolumeFile
from tests.unit.manifest.manifests import (
    KEYS,
    PAGE,
    SETTINGS,
    container,
    documented_examples,
    main,
    pod,
    read,
)

DEFAULT_CAPABILITIES = {
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID"),
        *("SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
    )
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"command": ["a", "b"]}, {"command": ("a", "b"), "args": None}),
        ({"args": []}, {"command": None, "args": None}),
        ({"command": ["a"], "args": []}, {"command": ("a",), "args": None}),
        ({"workingDir": "/x"}, {"working_dir": "/x"}),
        ({"workingDir": ""}, {"working_dir": None}),
        ({"stdin": True, "tty": True}, {"stdin": True, "tty": True}),
        (
            {"ports": [{"containerPort": 53, "hostPort": 53, "protocol": "UDP", "name": "dns"}]},
            {"ports": (Port(53, "UDP", "dns"),)},
        ),
        (
            {
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "value": "$(A)$(C)"},
                    {"name": "C"},
                ]
            },
            {"env": ("A=1", "B=1$(C)", "C=")},
        ),
        (
            {
                "env": [{"name": "A", "value": "1"}],
                "command": ["$(A)", "$$(A)"],
                "args": ["x$(A)", "$(B)"],
            },
            {"command": ("1", "$(A)"), "args": ("x1", "$(B)")},
        ),
        (
            {
                "env": [
                    {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {
                        "name": "B",
                        "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}},
                    },
                    {
                        "name": "C",
                        "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}},
                    },
                    {
                        "name": "D",
                        "valueFrom": {
                            "secretKeyRef": {"name": "none", "key": "x", "optional": True}
                        },
                    },
                ]
            },
            {"env": ("A=web", "B=blue", "C=sesame")},
        ),
        (
            {
                "env": [{"name": "user", "value": "eve"}],
                "envFrom": [
                    {"secretRef": {"name": "keys"}},
                    {"prefix": "P_", "secretRef": {"name": "keys"}},
                    {"configMapRef": {"name": "none", "optional": True}},
                ],
            },
            {"env": ("password=sesame", "user=eve", "P_password=sesame", "P_user=ali")},
        ),
        (
            {"resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}},
            {"resources": Resources(64 << 20, 500, 20)},
        ),
        (
            {"resources": {"requests": {"memory": "64Mi", "cpu": 1}}},
            {"resources": Resources(None, None, 39)},
        ),
        ({"securityContext": {"runAsUser": 5}}, {"user": "5"}),
        ({"securityContext": {"runAsUser": 5, "runAsGroup": 6}}, {"user": "5:6"}),
        ({"securityContext": {"runAsGroup": 6}}, {"user": ":6"}),
    ],
)
def test_a_container_is_as_its_fields_say(fields, expected):
    made = main(**fields)
    assert {name: getattr(made, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, {"capabilities": DEFAULT_CAPABILITIES}),
        (
            {"capabilities": {"add": ["NET_ADMIN"]}},
            {"capabilities": {*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN"}},
        ),
        ({"capabilities": {"drop": ["all"]}}, {"capabilities": set()}),
        (
            {"capabilities": {"drop": ["ALL"], "add": ["CAP_CHOWN", "net_raw"]}},
            {"capabilities": {"CAP_CHOWN", "CAP_NET_RAW"}},
        ),
        (
            {"capabilities": {"drop": ["CHOWN"], "add": ["CHOWN"]}},
            {"capabilities": DEFAULT_CAPABILITIES - {"CAP_CHOWN"}},
        ),
        ({"privileged": True}, {"capabilities": None, "seccomp": "unconfined"}),
        ({"readOnlyRootFilesystem": True}, {"read_only_root": True}),
        ({"allowPrivilegeEscalation": False}, {"no_new_privileges": True}),
        ({"runAsNonRoot": True}, {"non_root": True}),
        ({"seccompProfile": {"type": "RuntimeDefault"}}, {"seccomp": "runtime/default"}),
        ({"seccompProfile": {"type": "Unconfined"}}, {"seccomp": "unconfined"}),
    ],
)
def test_a_container_may_do_what_its_security_context_says(context, expected):
    made = main(securityContext=context).security
    found = {name: getattr(made, name) for name in expected}
    if found.get("capabilities") is not None:
        found["capabilities"] = set(found["capabilities"])
    assert found == expected


def test_all_capabilities_can_be_added_and_some_of_them_dropped():
    made = main(securityContext={"capabilities": {"add": ["ALL"], "drop": ["SYS_ADMIN"]}})
    assert len(made.security.capabilities) == 40
    assert "CAP_SYS_ADMIN" not in made.security.capabilities


def test_a_container_has_the_security_context_of_its_pod_under_its_own():
    document = pod(
        securityContext={
            "runAsUser": 5,
            "runAsGroup": 6,
            "runAsNonRoot": True,
            "supplementalGroups": [7, 8],
            "fsGroup": 8,
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net/core/somaxconn", "value": "9"}],
        }
    )
    document["spec"]["containers"].append(
        {"name": "own", "securityContext": {"runAsUser": 0, "runAsNonRoot": False}}
    )
    found = read(document)
    first, second = (p.container for p in found.containers)
    assert (first.user, second.user) == ("5:6", "0:6")
    assert (first.security.non_root, second.security.non_root) == (True, False)
    assert first.security.groups == second.security.groups == (7, 8)
    assert first.security.seccomp == "runtime/default"
    assert found.sysctls == {"net.core.somaxconn": "9"}


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ({"exec": {"command": ["a"]}}, Probe(exec=ExecCheck(("a",)))),
        ({"tcpSocket": {"port": 80}}, Probe(tcp=TcpCheck(80))),
        ({"tcpSocket": {"port": "http", "host": "::1"}}, Probe(tcp=TcpCheck(8080, "::1"))),
        ({"tcpSocket": {"port": "81"}}, Probe(tcp=TcpCheck(81))),
        (
            {
                "httpGet": {
                    "port": "http",
                    "path": "healthz",
                    "host": "localhost",
                    "scheme": "HTTP",
                    "httpHeaders": [{"name": "X", "value": "y"}],
                },
                "initialDelaySeconds": 1,
                "periodSeconds": 2,
                "timeoutSeconds": 3,
                "successThreshold": 4,
                "failureThreshold": 5,
            },
            Probe(
                http=HttpCheck(8080, "/healthz", "localhost", (HttpHeader("X", "y"),)),
                delay_s=1,
                period_s=2,
                timeout_s=3,
                successes=4,
                failures=5,
            ),
        ),
    ],
)
def test_a_probe_is_as_its_fields_say(probe, expected):
    made = main(ports=[{"containerPort": 8080, "name": "http"}], readinessProbe=probe)
    assert made.probes.readiness == expected


def test_the_command_of_a_probe_has_the_variables_of_its_container():
    made = main(
        env=[{"name": "PORT", "value": "80"}],
        livenessProbe={"exec": {"command": ["check", "$(PORT)", "$$(PORT)", "$(NONE)"]}},
    )
    assert made.probes.liveness.exec.argv == ("check", "80", "$(PORT)", "$(NONE)")


def test_there_are_three_kinds_of_probes():
    probe = {"tcpSocket": {"port": 1}}
    made = main(startupProbe=probe, livenessProbe=probe).probes
    assert made.startup == made.liveness == Probe(tcp=TcpCheck(1))
    assert made.readiness is None


FILES = (VolumeFile("user", "YWxp", 0o644), VolumeFile("password", "c2VzYW1l", 0o644))


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({"emptyDir": {}}, Volume("v")),
        ({"emptyDir": {"medium": ""}}, Volume("v")),
        (
            {"emptyDir": {"medium": "Memory", "sizeLimit": "1500Ki"}},
            Volume("v", Medium.MEMORY, 2),
        ),
        (
            {"configMap": {"name": "settings", "items": [{"key": "color", "path": "a/./b"}]}},
            Volume("v", mode=0o755, files=(VolumeFile("a/b", "Ymx1ZQ=="),)),
        ),
        (
            {
                "configMap": {
                    "name": "settings",
                    "defaultMode": 0o400,
                    "items": [
                        {"key": "blob", "path": "a"},
                        {"key": "color", "path": "b", "mode": 0o600},
                    ],
                }
            },
            Volume(
                "v",
                mode=0o755,
                files=(VolumeFile("a", "/w==", 0o400), VolumeFile("b", "Ymx1ZQ==", 0o600)),
            ),
        ),
        (
            {"secret": {"secretName": "keys"}},
            Volume("v", Medium.MEMORY, mode=0o755, files=FILES[::-1]),
        ),
        (
            {"secret": {"secretName": "none", "optional": True}},
            Volume("v", Medium.MEMORY, mode=0o755),
        ),
    ],
)
def test_a_volume_is_as_its_fields_say(volume, expected):
    (made,) = read(pod(volumes=[{"name": "v", **volume}]), SETTINGS, KEYS).volumes
    assert made == expected


def test_an_empty_list_of_items_is_everything():
    volume = {"name": "v", "configMap": {"name": "settings", "items": []}}
    (made,) = read(pod(volumes=[volume]), SETTINGS).volumes
    assert {f.path for f in made.files} == {"blob", "color", "motd.txt"}


def test_volumes_belong_to_the_group_of_the_pod():
    document = pod(
        securityContext={"fsGroup": 9},
        volumes=[
            {"name": "e", "emptyDir": {}},
            {"name": "s", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        ],
    )
    empty, secret = read(document, KEYS).volumes
    assert (empty.gid, oct(empty.mode)) == (9, oct(0o2777))
    assert (secret.gid, {f.mode for f in secret.files}) == (9, {0o440})


def test_a_mount_is_as_its_fields_say_and_what_comes_from_objects_cannot_be_written():
    document = pod(
        volumes=[{"name": "e", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "keys"}}]
    )
    document["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "e", "mountPath": "/a//b/", "subPath": "x/./y"},
        {"name": "e", "mountPath": "/c", "readOnly": True},
        {"name": "s", "mountPath": "/d", "subPath": "user"},
    ]
    assert read(document, KEYS).containers[0].container.mounts == (
        Mount("e", "/a/b", "x/y"),
        Mount("e", "/c", read_only=True),
        Mount("s", "/d", "user", read_only=True),
    )


BASE = PodSpec(
    "i",
    "server",
    (),
    2,
    128,
    1,
    "host",
    dns=Dns(("10.0.0.1",), ("a.example",)),
    labels={"x": "nova"},
)


def test_a_manifest_is_completed_by_what_it_runs_on():
    document = pod(
        initContainers=[{"name": "first"}],
        hostAliases=[{"ip": "10.0.0.9", "hostnames": ["db"]}],
        terminationGracePeriodSeconds=5,
        restartPolicy="OnFailure",
    )
    document["metadata"].update(labels={"x": "1", "y": "2"}, annotations={"z": "3"})
    made = read(document).complete(BASE, ["image-a", "image-b"])
    assert [(c.name, c.image) for c in made.all_containers] == [
        ("first", "image-a"),
        ("main", "image-b"),
    ]
    assert (made.id, made.name, made.vcpus, made.memory_mib, made.root_gib) == (
        *("i", "server", 2, 128, 1),
    )
    assert (made.hostname, made.dns) == ("host", BASE.dns)
    assert made.host_aliases == (HostAlias("10.0.0.9", ("db",)),)
    assert (made.restart_policy, made.termination_grace_s) == (RestartPolicy.ON_FAILURE, 5)
    assert made.labels == {"x": "nova", "y": "2", "z": "3"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, BASE.dns),
        (
            {"dnsConfig": {"nameservers": ["10.0.0.1", "10.0.0.2"], "searches": ["b.example"]}},
            Dns(("10.0.0.1", "10.0.0.2"), ("a.example", "b.example")),
        ),
        (
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.2"]}},
            Dns(("10.0.0.2",), ()),
        ),
    ],
)
def test_the_resolver_is_the_networks_unless_the_policy_says_none(fields, expected):
    assert read(pod(**fields)).complete(BASE, ["a"]).dns == expected


def test_containers_are_always_started_again_unless_said_otherwise():
    made = read(pod(hostname="other")).complete(BASE, ["a"])
    assert made.restart_policy is RestartPolicy.ALWAYS
    assert made.termination_grace_s == 30
    assert made.hostname == "other"


@pytest.mark.parametrize(
    ("image", "policy", "expected"),
    [
        ("nginx", None, ("host", "nginx", "Always")),
        ("nginx:latest", None, ("host", "nginx:latest", "Always")),
        ("localhost:5000/nginx", None, ("host", "localhost:5000/nginx", "Always")),
        ("nginx:1", None, ("host", "nginx:1", "IfNotPresent")),
        ("nginx@sha256:0", None, ("host", "nginx@sha256:0", "IfNotPresent")),
        ("nginx", "Never", ("host", "nginx", "Never")),
        ("glance://my-image", "IfNotPresent", ("glance", "my-image", "IfNotPresent")),
        ("glance://.", "IfNotPresent", ("own", "", "IfNotPresent")),
        ("", "IfNotPresent", ("own", "", "IfNotPresent")),
    ],
)
def test_an_image_is_glances_the_hosts_or_the_servers_own(image, policy, expected):
    fields = {"image": image} | ({"imagePullPolicy": policy} if policy else {})
    (found,) = read(container(**fields)).references
    assert (found.source, found.name, found.policy) == expected
    assert found.path == "spec.containers[0].image"


def test_a_container_without_an_image_runs_the_servers_own():
    document = pod(containers=[{"name": "main"}])
    assert read(document).references[0].source == "own"


@pytest.mark.parametrize(
    "spec",
    [
        {"hostNetwork": False},
        {"hostPID": False},
        {"hostIPC": False},
        {"shareProcessNamespace": False},
        {"enableServiceLinks": False},
        {"automountServiceAccountToken": False},
    ],
)
def test_what_a_pod_never_has_may_be_forbidden(spec):
    assert read(pod(**spec)).containers


def test_what_tools_write_into_every_manifest_is_accepted():
    document = pod()
    document["metadata"].update(creationTimestamp=None, namespace="default")
    document["status"] = {"phase": "Running"}
    assert read(document).name == "web"


def test_the_schema_is_json_schema_and_closed_everywhere():
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(schema.schema())

    def objects(value):
        if isinstance(value, dict):
            if "properties" in value:
                yield value
            for item in value.values():
                yield from objects(item)
        elif isinstance(value, list):
            for item in value:
                yield from objects(item)

    found = list(objects(schema.schema()))
    assert len(found) > 20
    for each in found:
        assert each["additionalProperties"] is False, each


def test_the_examples_for_tenants_are_manifests():
    examples = [parse(text.encode()).name for text in documented_examples()]
    assert examples == ["site", "job"]


def test_every_key_that_is_supported_is_told_to_tenants():
    page = PAGE.read_text()
    defined = schema.schema()["$defs"]
    for kind in ("PodSpec", "Container", "PodSecurityContext", "SecurityContext", "Probe"):
        for key in defined[kind]["properties"]:
            assert key in page, key
