"""Everything that is refused, by its path in the document."""

from __future__ import annotations

import tracemalloc

import pytest

from nova_hyper.manifest.pod import parse
from nova_hyper.manifest.problems import ManifestInvalid, path_of
from tests.unit.manifest.manifests import KEYS, POD, SETTINGS, container, pod, read, text


def refusals(*documents):
    with pytest.raises(ManifestInvalid) as caught:
        read(*documents)
    return caught.value.problems


@pytest.mark.parametrize(
    "key",
    [
        *("activeDeadlineSeconds", "affinity", "dnsPolicyX", "ephemeralContainers", "hostUsers"),
        *("imagePullSecrets", "nodeName", "nodeSelector", "os", "overhead", "preemptionPolicy"),
        *("priority", "priorityClassName", "readinessGates", "resourceClaims", "runtimeClassName"),
        *("schedulerName", "schedulingGates", "serviceAccountName", "setHostnameAsFQDN"),
        *("subdomain", "tolerations", "topologySpreadConstraints"),
    ],
)
def test_a_field_of_the_pod_that_is_not_supported_is_named(key):
    assert refusals(pod(**{key: "x"})) == (f"spec.{key} is not supported; remove it",)


@pytest.mark.parametrize(
    "key",
    [
        *("lifecycle", "resizePolicy", "restartPolicy", "stdinOnce", "terminationMessagePath"),
        *("terminationMessagePolicy", "volumeDevices", "imagepullpolicy"),
    ],
)
def test_a_field_of_a_container_that_is_not_supported_is_named(key):
    assert refusals(container(**{key: "x"})) == (
        f"spec.containers[0].{key} is not supported; remove it",
    )


@pytest.mark.parametrize("key", ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"])
def test_an_init_container_has_neither_probes_nor_hooks(key):
    document = pod(initContainers=[{"name": "first", key: {}}])
    assert refusals(document) == (f"spec.initContainers[0].{key} is not supported; remove it",)


def test_an_init_container_that_goes_on_running_is_refused():
    document = pod(initContainers=[{"name": "first", "restartPolicy": "Always"}])
    assert refusals(document) == (
        "spec.initContainers[0].restartPolicy is not supported; remove it",
    )


@pytest.mark.parametrize(
    "source",
    [
        *("hostPath", "persistentVolumeClaim", "projected", "downwardAPI", "nfs", "csi"),
        *("ephemeral", "image", "iscsi"),
    ],
)
def test_a_volume_of_another_kind_is_named(source):
    found = refusals(pod(volumes=[{"name": "v", source: {}}]))
    assert f"spec.volumes[0].{source} is not supported; remove it" in found


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (container(env=[{"name": "A", "value": 1}]),
         "spec.containers[0].env[0].value must be a string, not 1; put it in quotes"),
        (container(env=[{"name": "A", "value": True}]),
         "spec.containers[0].env[0].value must be a string, not true; put it in quotes"),
        (container(env=[{"value": "x"}]), "spec.containers[0].env[0].name is missing"),
        (container(env=[{"name": "1A"}]),
         "spec.containers[0].env[0].name must be letters, digits, '_', '.' and '-', and not begin "
         'with a digit, not "1A"'),
        (container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
         "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath must be metadata.name, "
         "metadata.labels['...'] or metadata.annotations['...'], not \"status.podIP\""),
        (container(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {}}}]),
         "spec.containers[0].env[0].valueFrom.resourceFieldRef is not supported; remove it"),
        (container(env=[{"name": "A", "valueFrom": {}}]),
         "spec.containers[0].env[0].valueFrom must have exactly one of configMapKeyRef, "
         "secretKeyRef, fieldRef"),
        (container(env=[{"name": "A", "value": "x", "valueFrom": {
            "configMapKeyRef": {"name": "settings", "key": "color"}}}]),
         "spec.containers[0].env[0] must have either value or valueFrom"),
        (container(env=[{"name": "A", "valueFrom": {
            "configMapKeyRef": {"name": "x", "key": "y"}}}]),
         "spec.containers[0].env[0].valueFrom.configMapKeyRef.name names the ConfigMap x, which "
         "is not in the file; put it there as a document of its own"),
        (container(env=[{"name": "A", "valueFrom": {
            "secretKeyRef": {"name": "keys", "key": "y"}}}]),
         "spec.containers[0].env[0].valueFrom.secretKeyRef.key names the key y, which the Secret "
         "keys has not"),
        (container(env=[{"name": "A", "valueFrom": {
            "configMapKeyRef": {"name": "settings", "key": "blob"}}}]),
         "spec.containers[0].env[0].valueFrom.configMapKeyRef is no text, so it cannot be the "
         "value of a variable"),
        (container(envFrom=[{}]),
         "spec.containers[0].envFrom[0] must have exactly one of configMapRef, secretRef"),
        (container(envFrom=[{"secretRef": {"name": "x"}}]),
         "spec.containers[0].envFrom[0].secretRef.name names the Secret x, which is not in the "
         "file; put it there as a document of its own"),
        (container(command=[]), "spec.containers[0].command must not be empty"),
        (container(command="sh"), 'spec.containers[0].command must be a list, not "sh"'),
        (container(command=["a\0"]),
         'spec.containers[0].command[0] must have no NUL character, not "a\\u0000"'),
        (container(name="Web"),
         "spec.containers[0].name must be 1 to 63 lower-case letters, digits and hyphens, with no "
         'hyphen at its ends, not "Web"'),
        (container(image="a b"),
         'spec.containers[0].image must be printable ASCII without spaces, not "a b"'),
        (container(imagePullPolicy="Sometimes"),
         "spec.containers[0].imagePullPolicy must be one of Always, IfNotPresent, Never, not "
         '"Sometimes"'),
        (container(workingDir="x"),
         'spec.containers[0].workingDir must be an absolute path, not "x"'),
        (container(stdin="yes"), 'spec.containers[0].stdin must be true or false, not "yes"'),
        (container(ports=[{"containerPort": 0}]),
         "spec.containers[0].ports[0].containerPort must be at least 1, not 0"),
        (container(ports=[{"containerPort": 80, "hostPort": 8080}]),
         "spec.containers[0].ports[0].hostPort can only be 80: a pod has addresses of its own, "
         "where the port is open under its own number"),
        (container(ports=[{"containerPort": 80, "hostIP": "10.0.0.1"}]),
         "spec.containers[0].ports[0].hostIP is not supported; remove it"),
        (container(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
         "spec.containers[0].ports[1].name is a, as of an earlier port"),
        (container(resources={"limits": {"memory": "64MB"}}),
         "spec.containers[0].resources.limits.memory must be a quantity such as 500m, 64Mi or "
         "1.5Gi, not '64MB'"),
        (container(resources={"limits": {"memory": "64m"}}),
         "spec.containers[0].resources.limits.memory must be at least 1Mi"),
        (container(resources={"limits": {"cpu": 1}, "requests": {"cpu": 2}}),
         "spec.containers[0].resources.requests.cpu is more than the limit"),
        (container(resources={"limits": {"ephemeral-storage": "1Gi"}}),
         "spec.containers[0].resources.limits.ephemeral-storage is not supported; remove it"),
        (container(resources={"limits": {"nvidia.com/gpu": 1}}),
         'spec.containers[0].resources.limits["nvidia.com/gpu"] is not supported; remove it'),
        (container(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
         "spec.containers[0].volumeMounts[0].name is v, which is not in spec.volumes"),
        (container(volumeMounts=[{"name": "v", "mountPath": "x"}]),
         "spec.containers[0].volumeMounts[0].mountPath must be an absolute path without '..' and "
         "':', not \"x\""),
        (container(volumeMounts=[{"name": "v", "mountPath": "/x", "subPath": "../y"}]),
         "spec.containers[0].volumeMounts[0].subPath must be a relative path without '..', not "
         '"../y"'),
        (container(volumeMounts=[{"name": "v", "mountPath": "/x", "subPathExpr": "$(A)"}]),
         "spec.containers[0].volumeMounts[0].subPathExpr is not supported; remove it"),
        (container(volumeMounts=[{"name": "v", "mountPath": "/x", "mountPropagation": "None"}]),
         "spec.containers[0].volumeMounts[0].mountPropagation is not supported; remove it"),
        (container(securityContext={"capabilities": {"add": ["FLY"]}}),
         "spec.containers[0].securityContext.capabilities.add[0] is 'FLY', which is no capability "
         "(see capabilities(7)) nor ALL"),
        (container(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
         "spec.containers[0].securityContext.allowPrivilegeEscalation cannot be false in a "
         "privileged container"),
        (container(securityContext={"seccompProfile": {"type": "Localhost"}}),
         "spec.containers[0].securityContext.seccompProfile.type must be one of RuntimeDefault, "
         'Unconfined, not "Localhost"'),
        (container(securityContext={"seLinuxOptions": {}}),
         "spec.containers[0].securityContext.seLinuxOptions is not supported; remove it"),
        (container(securityContext={"procMount": "Unmasked"}),
         "spec.containers[0].securityContext.procMount is not supported; remove it"),
        (container(securityContext={"runAsUser": -1}),
         "spec.containers[0].securityContext.runAsUser must be at least 0, not -1"),
        (pod(securityContext={"fsGroupChangePolicy": "Always"}),
         "spec.securityContext.fsGroupChangePolicy is not supported; remove it"),
        (pod(securityContext={"sysctls": [{"name": "../x", "value": "1"}]}),
         "spec.securityContext.sysctls[0].name must be the name of a sysctl such as "
         'net.core.somaxconn, not "../x"'),
        (container(livenessProbe={}),
         "spec.containers[0].livenessProbe must have exactly one of exec, tcpSocket, httpGet"),
        (container(livenessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
         "spec.containers[0].livenessProbe must have exactly one of exec, tcpSocket, httpGet"),
        (container(livenessProbe={"grpc": {"port": 1}}),
         "spec.containers[0].livenessProbe.grpc is not supported; remove it"),
        (container(livenessProbe={"httpGet": {"port": 1, "scheme": "HTTPS"}}),
         'spec.containers[0].livenessProbe.httpGet.scheme can only be "HTTP", not "HTTPS"'),
        (container(livenessProbe={"httpGet": {"port": "http"}}),
         "spec.containers[0].livenessProbe.httpGet.port is 'http', which is no name of a port of "
         "this container"),
        (container(livenessProbe={"tcpSocket": {"port": 70000}}),
         "spec.containers[0].livenessProbe.tcpSocket.port must be from 1 to 65535, not 70000"),
        (container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}),
         "spec.containers[0].livenessProbe.successThreshold can only be 1"),
        (container(livenessProbe={"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 2}),
         "spec.containers[0].livenessProbe.terminationGracePeriodSeconds is not supported; remove "
         "it"),
        (pod(containers=[]), "spec.containers must not be empty"),
        (pod(containers=[{"name": "a"}, {"name": "a"}]),
         "spec.containers[1].name is a, as of spec.containers[0]"),
        (pod(initContainers=[{"name": "main"}]),
         "spec.containers[0].name is main, as of spec.initContainers[0]"),
        (pod(containers=[{"name": str(i)} for i in range(17)]),
         "spec.containers must have at most 16 items, not 17"),
        (pod(volumes=[{"name": "v"}]),
         "spec.volumes[0] must have exactly one of emptyDir, configMap, secret"),
        (pod(volumes=[{"name": "v", "emptyDir": {}, "secret": {"secretName": "keys"}}]),
         "spec.volumes[0] must have exactly one of emptyDir, configMap, secret"),
        (pod(volumes=[{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]),
         "spec.volumes[1].name is v, as of an earlier volume"),
        (pod(volumes=[{"name": "v", "emptyDir": {"medium": "HugePages"}}]),
         'spec.volumes[0].emptyDir.medium must be one of "", Memory, not "HugePages"'),
        (pod(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]),
         "spec.volumes[0].emptyDir.sizeLimit is supported with medium Memory only; the limit of "
         "what is on disk is that of the pod's own disk"),
        (pod(volumes=[{"name": "v", "configMap": {"name": "x"}}]),
         "spec.volumes[0].configMap.name names the ConfigMap x, which is not in the file; put it "
         "there as a document of its own"),
        (pod(volumes=[{"name": "v", "configMap": {
            "name": "settings", "items": [{"key": "x", "path": "y"}]}}]),
         "spec.volumes[0].configMap.items[0].key is x, which is not in the object"),
        (pod(volumes=[{"name": "v", "secret": {
            "secretName": "keys", "items": [{"key": "user", "path": "/etc/x"}]}}]),
         "spec.volumes[0].secret.items[0].path must be a relative path without '..', not "
         '"/etc/x"'),
        (pod(volumes=[{"name": "v", "secret": {"secretName": "keys", "defaultMode": 0o1777}}]),
         "spec.volumes[0].secret.defaultMode must be at most 511, not 1023"),
        (pod(restartPolicy="never"),
         'spec.restartPolicy must be one of Always, OnFailure, Never, not "never"'),
        (pod(terminationGracePeriodSeconds=-1),
         "spec.terminationGracePeriodSeconds must be at least 0, not -1"),
        (pod(hostname="a.b"),
         "spec.hostname must be 1 to 63 lower-case letters, digits and hyphens, with no hyphen at "
         'its ends, not "a.b"'),
        (pod(dnsPolicy="ClusterFirst"),
         'spec.dnsPolicy must be one of Default, None, not "ClusterFirst"'),
        (pod(dnsPolicy="None"),
         "spec.dnsConfig.nameservers is missing, which dnsPolicy None needs"),
        (pod(dnsConfig={"nameservers": ["x"]}),
         "spec.dnsConfig.nameservers[0] is 'x', which is no IP address"),
        (pod(dnsConfig={"options": []}), "spec.dnsConfig.options is not supported; remove it"),
        (pod(hostAliases=[{"ip": "x", "hostnames": ["a"]}]),
         "spec.hostAliases[0].ip is 'x', which is no IP address"),
        (pod(hostNetwork=True), "spec.hostNetwork can only be false, not true"),
        (pod(shareProcessNamespace=True),
         "spec.shareProcessNamespace can only be false, not true"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(document, said):
    assert refusals(document, SETTINGS, KEYS) == (said,)


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([], "the file must have exactly one Pod, not 0"),
        ([POD, POD], "the file must have exactly one Pod, not 2"),
        ([POD, {"apiVersion": "apps/v1", "kind": "Deployment"}],
         "document 2 is of kind 'Deployment'; only Pod, ConfigMap and Secret are supported"),
        ([POD, {**SETTINGS, "data": {"a": 1}}],
         "document 2 (ConfigMap): data.a must be a string, not 1; put it in quotes"),
        ([POD, {**SETTINGS, "data": {"a/b": "1"}}],
         "document 2 (ConfigMap): data must be named with letters, digits, '.', '_' and '-', not "
         '"a/b"'),
        ([POD, {**SETTINGS, "data": {"blob": "1"}}],
         "document 2 (ConfigMap): data.blob is in binaryData too"),
        ([POD, {**KEYS, "data": {"a": "???"}}], "document 2 (Secret): data.a is not base64"),
        ([POD, {**KEYS, "spec": {}}], "document 2 (Secret): spec is not supported; remove it"),
        ([POD, {**KEYS, "metadata": {}}], "document 2 (Secret): metadata.name is missing"),
        ([POD, KEYS, KEYS], "document 3 (Secret): metadata.name is keys, as of an earlier Secret"),
        ([{**POD, "apiVersion": "v2"}], 'apiVersion can only be "v1", not "v2"'),
        ([{**POD, "metadata": {"name": "web", "namespace": "prod"}}],
         'metadata.namespace can only be "default", not "prod"'),
        ([{**POD, "metadata": {"labels": {"a": 1}}}],
         "metadata.labels.a must be a string, not 1; put it in quotes"),
        ([{**POD, "metadata": {"ownerReferences": []}}],
         "metadata.ownerReferences is not supported; remove it"),
        ([{"apiVersion": "v1", "kind": "Pod"}], "spec is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_file_is_said(documents, said):
    assert said in refusals(*documents)


def test_a_name_is_needed_where_it_is_referred_to():
    document = container(
        env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    )
    del document["metadata"]
    assert refusals(document) == (
        "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath is metadata.name, which this Pod "
        "has not",
    )


def test_all_problems_are_listed_but_no_more_than_one_reads():
    keys = {f"key{i:02}": 1 for i in range(20)}
    with pytest.raises(ManifestInvalid) as caught:
        read(pod(**keys))
    assert len(caught.value.problems) == 20
    assert "spec.key07 is not supported" in caught.value.message
    assert "spec.key08" not in caught.value.message
    assert caught.value.message.endswith("; and 12 more")


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        ([{"limits": {"memory": "65Mi"}}],
         "spec.containers[0].resources ask for 65 MiB of memory, the flavor has 64 MiB"),
        ([{"limits": {"cpu": "1500m"}}],
         "spec.containers[0].resources ask for 1.5 CPUs, the flavor has 1"),
        ([{"requests": {"memory": "65Mi"}}],
         "spec.containers[0].resources ask for 65 MiB of memory, the flavor has 64 MiB"),
        ([{"requests": {"memory": "33Mi"}}, {"limits": {"memory": "32Mi"}}],
         "spec.containers: what they request together ask for 65 MiB of memory, the flavor has "
         "64 MiB"),
    ],
)  # fmt: skip
def test_what_is_more_than_the_flavor_has_is_refused_with_both_figures(containers, said):
    made = read(
        pod(containers=[{"name": f"c{i}", "resources": r} for i, r in enumerate(containers)])
    )
    with pytest.raises(ManifestInvalid) as caught:
        made.check_size(1, 64, "the flavor")
    assert caught.value.problems == (said,)


def test_what_fits_into_the_flavor_is_fine():
    wanted = {"limits": {"memory": "64Mi", "cpu": 1}, "requests": {"memory": "32Mi", "cpu": "0.5"}}
    parts = [{"name": f"c{i}", "resources": wanted} for i in range(2)]
    first = [{"name": f"i{i}", "resources": {"limits": {"memory": "64Mi"}}} for i in range(2)]
    read(pod(containers=parts, initContainers=first)).check_size(1, 64, "the flavor")


def test_a_bomb_of_aliases_is_refused_before_it_grows():
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    bomb = f"a0: &a0 [x]\n{levels}\n".encode() + text(POD)
    with pytest.raises(ManifestInvalid, match="aliases are not supported"):
        parse(bomb)


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        (["spec", "containers", 0, "name"], "spec.containers[0].name"),
        (["metadata", "labels", "a.b/c"], 'metadata.labels["a.b/c"]'),
    ],
)
def test_a_path_is_written_as_people_write_it(parts, path):
    assert path_of(parts) == path


def test_variables_of_variables_are_refused_before_they_grow_without_end():
    env = [{"name": "V0", "value": "x" * 1000}]
    env += [{"name": f"V{i}", "value": f"$(V{i - 1})" * 1000} for i in range(1, 30)]
    found = refusals(container(env=env, args=["$(V0)" * 1000]))
    assert found == (
        "spec.containers[0].env[1].value expands to more than 131072 characters",
        "spec.containers[0].args[0] expands to more than 131072 characters",
    )


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (container(volumeMounts=[{"name": "v", "mountPath": "/a\n/../b"}]), "mountPath"),
        (
            container(volumeMounts=[{"name": "v", "mountPath": "/a", "subPath": "a\n/../../b"}]),
            "subPath",
        ),
    ],
)
def test_a_line_feed_hides_no_way_up(document, path):
    (found,) = refusals(document)
    assert found.startswith(f"spec.containers[0].volumeMounts[0].{path} must be ")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            {"tcpSocket": {"port": 1, "host": "db.example.org"}},
            ".tcpSocket.host is 'db.example.org', but must be an IP address or localhost: a "
            "probe asks no DNS",
        ),
        ({"httpGet": {"port": 1, "path": "x" * 2048}}, ".httpGet.path must have at most 2047"),
        ({"exec": {"command": ["x"] * 1025}}, ".exec.command must have at most 1024 items"),
        (
            {"httpGet": {"port": 1, "httpHeaders": [{"name": "A", "value": "x" * 3841}]}},
            ".httpGet.httpHeaders[0].value must have at most 3840",
        ),
    ],
)
def test_a_probe_that_the_agent_would_not_take_is_refused_by_its_path(check, said):
    (found,) = refusals(container(livenessProbe=check))
    assert found.startswith(f"spec.containers[0].livenessProbe{said}")


def test_many_references_to_a_long_variable_do_not_take_the_memory_of_all():
    env = [{"name": "LONG", "value": "x" * 100_000}]
    env += [{"name": f"V{i}", "value": "$(LONG)"} for i in range(1500)]
    document = text(container(env=env, args=["$(LONG)"] * 1500))
    tracemalloc.start()
    with pytest.raises(ManifestInvalid) as caught:
        parse(document)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024**2
    assert caught.value.problems[0] == (
        "spec.containers[0].env[5].value expands, with what is before it, to more than 524288 "
        "characters"
    )


def test_a_command_and_variables_that_no_request_could_carry_are_refused():
    env = [{"name": f"V{i}", "value": "x" * 60_000} for i in range(3)]
    (found,) = refusals(container(env=env))
    assert found == (
        "spec.containers[0] has a command and variables of 180009 bytes, more than the 163840 "
        "possible"
    )


@pytest.mark.parametrize("text", ["a" * 250_000, "/" * 250_000, "/.." * 80_000, "a." * 100_000])
def test_a_long_text_is_refused_in_no_time_by_every_pattern(text):
    for document in (
        container(name=text, image=text, workingDir=text),
        pod(volumes=[{"name": "v", "emptyDir": {}}], hostname=text),
        pod(securityContext={"sysctls": [{"name": text, "value": "1"}]}),
        container(volumeMounts=[{"name": "v", "mountPath": text, "subPath": text}]),
        container(ports=[{"containerPort": 1, "name": text}]),
    ):
        refusals(document)
