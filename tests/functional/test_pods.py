"""Pods of several containers from Pod manifests, on a real hyperd: what their user sees."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import uuid

import pytest

from nova_hyper.spec.errors import PodNotFound
from tests.functional import archives
from tests.functional.daemon import private, wait_for
from tests.unit.manifest.manifests import documented_examples

# A web server whose page the init container has written, and a sidecar that polls it on localhost
# and writes what it gets into what both share. The liveness probe kills a server that is deaf.
WEB = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello, motd: "welcome\\n"}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: demo}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {sysctls: [{name: net.core.somaxconn, value: "321"}]}
  hostAliases: [{ip: 127.0.0.1, hostnames: [site]}]
  initContainers:
  - name: prepare
    image: busybox
    command: [sh, -c, 'echo "$(GREETING) from init" > /data/index.html']
    env: [{name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: greeting}}}]
    volumeMounts: [{name: data, mountPath: /data}]
  containers:
  - name: server
    image: busybox
    command: [httpd, -f, -p, "8080", -h, /data]
    ports: [{containerPort: 8080, name: http}]
    volumeMounts: [{name: data, mountPath: /data}]
    livenessProbe: {httpGet: {port: http, path: /index.html}, periodSeconds: 1}
    resources: {limits: {memory: 32Mi, cpu: 500m}}
  - name: sidecar
    image: busybox
    command: [sh, -c]
    args:
    - |
      cat /etc/motd/motd; cat /proc/sys/net/core/somaxconn
      while :; do wget -q -O - http://site:8080/index.html >>/data/seen && tail -n 1 /data/seen
      sleep 0.2; done
    volumeMounts:
    - {name: data, mountPath: /data}
    - {name: conf, mountPath: /etc/motd}
    securityContext: {runAsUser: 33, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
  volumes: [{name: data, emptyDir: {}}, {name: conf, configMap: {name: settings}}]
"""


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    """One hyperd with the image ``busybox`` for all tests of this module."""
    with private(guest, busybox) as daemon:
        yield daemon


@pytest.fixture
def run(hyperd, tmp_path):
    """``run(text, *options)``: start a manifest in the background; return the pod's name."""
    made = []

    def start(text, *options):
        path = tmp_path / f"pod{len(made)}.yaml"
        path.write_text(text)
        name = f"p-{uuid.uuid4().hex[:8]}"
        made.append(name)
        hyperd.ctl("run", "-d", "--name", name, *options, str(path))
        return name

    yield start
    for name in made:
        with contextlib.suppress(PodNotFound):
            hyperd.client.delete_pod(name)


def container(hyperd, pod, name):
    return next(c for c in hyperd.client.pod(pod).containers if c.name == name)


def logs(hyperd, pod, name):
    return hyperd.ctl("logs", "-c", name, pod).stdout


def events(hyperd, pod):
    found = hyperd.client.events(0, 0).events
    return [(e.kind.value, e.message) for e in found if e.pod_name == pod]


def test_a_pod_of_a_server_and_a_sidecar_lives_and_survives_a_deaf_server(hyperd, run):
    pod = run(WEB, "--root", "1")
    wait_for(lambda: "hello from init" in logs(hyperd, pod, "sidecar"), what="the page")
    assert logs(hyperd, pod, "sidecar").startswith("welcome\n321\n")
    init = container(hyperd, pod, "prepare")
    assert (init.init, init.state.value, init.exit_code) == (True, "exited", 0)
    server = container(hyperd, pod, "server")
    assert (server.state.value, server.restarts, server.ready) == ("running", 0, True)
    assert hyperd.client.pod(pod).spec.labels == {"app": "demo"}

    # Separate in their files and processes, together in their network and volumes.
    sh = ("exec", "-c", "sidecar", pod, "sh", "-c")
    assert hyperd.ctl(*sh, "id -u; touch /x 2>&1; grep CapEff /proc/self/status").stdout == (
        "33\ntouch: /x: Read-only file system\nCapEff:\t0000000000000000\n"
    )
    ran = hyperd.ctl(
        "exec", "-c", "server", pod, "sh", "-c", "ls /proc | grep -c '^[0-9]'; ls /data"
    )
    count, *files = ran.stdout.split()
    assert int(count) <= 5
    assert files == ["index.html", "seen"]

    # Stopped, httpd answers nobody: the probe fails, and the container is started anew.
    hyperd.ctl("exec", "-c", "server", pod, "sh", "-c", "kill -STOP 1; kill -STOP $(pidof httpd)")
    hyperd.ctl("kill", "-s", "STOP", "-c", "server", pod)
    server = wait_for(
        lambda: (
            (c := container(hyperd, pod, "server")).restarts == 1
            and c.state.value == "running"
            and c
        ),
        what="a restart by the liveness probe",
    )
    before = logs(hyperd, pod, "sidecar").count("hello")
    wait_for(lambda: logs(hyperd, pod, "sidecar").count("hello") > before, what="the page again")
    told = [said for kind, said in events(hyperd, pod) if kind == "restarted"]
    assert len(told) == 1
    assert told[0].startswith("container server was started again, once by now")

    # A stop and a start bring everything back, with what was written.
    hyperd.ctl("stop", pod)
    assert hyperd.client.pod(pod).state.value == "stopped"
    hyperd.ctl("start", pod)
    wait_for(lambda: container(hyperd, pod, "server").ready, what="the server again")
    seen = hyperd.ctl("exec", "-c", "server", pod, "wc", "-l", "/data/seen").stdout
    assert int(seen.split()[0]) >= before


def test_the_documented_job_runs_confined_with_its_configuration(hyperd, tmp_path):
    _site, job = documented_examples()
    look = (
        "id; grep -E '^(Seccomp|NoNewPrivs|CapBnd):' /proc/self/status; touch /work/new /x; "
        "stat -c '%a %g' /work /etc/app/app.conf; df -m /work | tail -n 1 | awk '{print $2}'"
    )
    job = job.replace("test -n", f"{look.replace(chr(39), chr(39) * 2)}; test -n")
    path = tmp_path / "job.yaml"
    path.write_text(job.replace("glance://.", "busybox"))
    ran = hyperd.ctl("run", "--rm", str(path))
    assert ran.stdout == (
        "verbose = yes\nlevel info\nuid=1000 gid=0(root) groups=1000\n"
        "CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
        "2777 1000\n644 1000\n16\n"
    )
    assert ran.stderr == "touch: /x: Read-only file system\n"


def test_memory_beyond_the_limit_is_named_and_the_pod_ends_with_the_code(hyperd, tmp_path):
    path = tmp_path / "hungry.yaml"
    path.write_text(
        """
apiVersion: v1
kind: Pod
spec:
  restartPolicy: Never
  containers:
  - {name: calm, image: busybox, command: [sh, -c, 'sleep 1; echo calm']}
  - name: hungry
    image: busybox
    command: [sh, -c, 'echo eating; x=1; while :; do x=$x$x; done']
    resources: {limits: {memory: 16Mi}}
"""
    )
    ran = hyperd.ctl("run", "--name", "hungry", str(path), check=False)
    assert ran.returncode == 137
    assert {"hungry: eating", "calm: calm"} <= set(ran.stdout.splitlines())
    assert ran.stderr.startswith(
        "hyperctl: container hungry was killed because it used more memory than it may have"
    )
    hungry = container(hyperd, "hungry", "hungry")
    assert (hungry.oom_killed, hungry.reason, hungry.exit_code) == (True, "OOMKilled", 137)
    assert container(hyperd, "hungry", "calm").exit_code == 0
    assert "oom" in [kind for kind, _said in events(hyperd, "hungry")]
    hyperd.client.delete_pod("hungry")


def test_an_init_container_that_fails_ends_the_pod_with_its_name(hyperd, tmp_path):
    path = tmp_path / "failing.yaml"
    path.write_text(
        """
apiVersion: v1
kind: Pod
spec:
  restartPolicy: Never
  initContainers: [{name: first, image: busybox, command: [sh, -c, 'echo no; exit 3']}]
  containers: [{name: main, image: busybox, command: [echo, never]}]
"""
    )
    ran = hyperd.ctl("run", "--rm", str(path), check=False)
    assert (ran.returncode, ran.stdout) == (3, "first: no\n")
    assert "container first exited with code 3" in ran.stderr


def test_volumes_and_the_healthcheck_of_an_image_are_honoured(hyperd, busybox, tmp_path):
    def change(image):
        image["config"]["Volumes"] = {"/www": {}}
        image["config"]["Healthcheck"] = {
            "Test": ["CMD-SHELL", "test -e /www/well"],
            "Interval": 300_000_000,
            "Retries": 2,
        }

    image = archives.remade(busybox, tmp_path / "checked.tar", change)
    hyperd.ctl("run", "-d", "--name", "checked", str(image))
    try:

        def health():
            return container(hyperd, "checked", "main").health

        wait_for(lambda: health() == "unhealthy", what="the verdict")
        ran = hyperd.ctl(
            "exec", "checked", "sh", "-c", "ls /www; touch /www/well; grep ' /www ' /proc/mounts"
        )
        assert ran.stdout.startswith("index.html\n")
        assert " /www " in ran.stdout
        wait_for(lambda: health() == "healthy", what="the recovery")
        assert container(hyperd, "checked", "main").restarts == 0
        kinds = [said for kind, said in events(hyperd, "checked") if kind == "health"]
        assert kinds[-2:] == ["container main is unhealthy", "container main is healthy"]
    finally:
        hyperd.client.delete_pod("checked")


def test_restarts_and_the_pod_go_on_without_the_daemon(hyperd, run):
    pod = run(
        """
apiVersion: v1
kind: Pod
spec:
  restartPolicy: OnFailure
  containers:
  - name: flaky
    image: busybox
    command: [sh, -c, 'test -e /again && sleep 1000; touch /again; sleep 1; exit 1']
  - {name: done, image: busybox, command: ["true"]}
"""
    )
    hyperd.kill()
    hyperd.start()
    wait_for(
        lambda: (
            (c := container(hyperd, pod, "flaky")).restarts == 1 and c.state.value == "running"
        ),
        what="a restart",
    )
    assert container(hyperd, pod, "done").exit_code == 0
    assert hyperd.client.pod(pod).state.value == "running"


def test_what_is_wrong_with_a_manifest_is_said_by_its_path_and_makes_nothing(hyperd, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(WEB.replace("emptyDir: {}", "hostPath: {path: /}"))
    ran = hyperd.ctl("run", str(path), check=False)
    assert ran.returncode == 1
    assert ran.stderr == (
        "hyperctl: the Pod manifest cannot be used: spec.volumes[0].hostPath is not supported; "
        "remove it\n"
    )
    path.write_text(WEB)
    assert "restart_policy: always" in hyperd.ctl("run", "--dry-run", str(path)).stdout
    assert "web" not in [p.spec.name for p in hyperd.client.pods()]


def test_a_shell_in_a_new_pod_has_a_terminal_and_the_pod_its_exit_code(hyperd):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["HYPERD_SOCKET"] = str(hyperd.socket)
        command = [sys.executable, "-m", "nova_hyper.cmd.hyperctl"]
        os.execv(sys.executable, [*command, "run", "-it", "--rm", "busybox", "sh"])
    seen = b""

    def shows(text):
        nonlocal seen
        while text not in seen:
            ready, _, _ = select.select([terminal], [], [], 60)
            assert ready, seen
            seen += os.read(terminal, 65536)

    shows(b"# ")  # the prompt, though it came before anybody could have joined
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    os.write(terminal, b"sleep 1; stty size; tty\n")
    shows(b"33 99\r\n/dev/pts/0")
    os.write(terminal, b"exit 5\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(terminal)
    assert not [p for p in hyperd.client.pods() if p.spec.containers[0].tty]
