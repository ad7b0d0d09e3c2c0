"""What a pod is given at its birth: files, keys, a password, a config drive."""

from __future__ import annotations

import base64
import dataclasses
import io
import tarfile
import threading

import pytest

from nova_hyper.daemon.pods import giving
from nova_hyper.daemon.ports import AgentError
from nova_hyper.spec.container import Container
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import Conflict, GuestFailed, InvalidRequest, PodNotFound, PodPaused
from nova_hyper.spec.pod import PodState
from nova_hyper.spec.setup import InjectedFile, Setup, SetupDone
from nova_hyper.spec.volume import Mount, Volume
from tests.unit import programs
from tests.unit.daemon.fakes import POD_ID, spec
from tests.unit.fake_setup import ISO

FILE = InjectedFile("/etc/motd", base64.b64encode(b"hello").decode())
SETUP = Setup((FILE,), "root", ("ssh-rsa A",), "$6$s$h")


@pytest.fixture
def sent(core):
    """``sent()`` plays the guests from then on; returns what containers were sent, in order."""
    taken = []

    def serve(streams):
        while (stream := streams.get()) is not None:
            taken.append((stream.args["name"], stream.args["path"]))
            programs.serve(stream)

    def start():
        threading.Thread(target=serve, args=(core.agent().streams,), daemon=True).start()
        return taken

    yield start
    core.agent().streams.put(None)


def injected(path, data=b"x", **more):
    return InjectedFile(path, base64.b64encode(data).decode(), **more)


def account(core):
    """What the agent was asked for users."""
    return [args for op, args in core.agent().requests if op == "account.set"]


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(m.name, m.mode, m.uid, m.gid, tar.extractfile(m).read()) for m in tar]


def test_files_are_sent_as_roots_with_their_modes():
    files = (FILE, injected("/a/b", b"", mode=0o600))
    assert members(giving.archive(files)) == [
        ("etc/motd", 0o644, 0, 0, b"hello"),
        ("a/b", 0o600, 0, 0, b""),
    ]


def test_every_container_but_init_containers_is_given_all(core, sent):
    two = (Container("a", "web:1"), Container("b", "web:1"))
    core.pods.create(spec(containers=two, init_containers=(Container("i", "web:1"),)))
    taken = sent()
    assert core.setups.apply(POD_ID, SETUP) == SetupDone(keys=True, password=True)
    assert taken == [("a", "/"), ("b", "/")]
    assert [(a["name"], a["user"], a["keys"], a["password"]) for a in account(core)] == [
        ("a", "root", ["ssh-rsa A"], "$6$s$h"),
        ("b", "root", ["ssh-rsa A"], "$6$s$h"),
    ]


def test_a_running_pod_is_given_a_password_and_files_stay_as_they_are(core):
    core.pods.create(spec(root_gib=1))
    core.pods.start(POD_ID)
    assert core.setups.apply("web", Setup(password="$6$s$h")) == SetupDone(password=True)
    assert "archive.put" not in core.agent().asked
    assert core.repository.setup(POD_ID) is None


def test_what_no_container_has_a_user_for_is_told(core):
    core.pods.create(spec())
    core.agent().answers["account.set"] = {"keys": False, "password": False}
    assert core.setups.apply(POD_ID, Setup(keys=("k",), password="p")) == SetupDone()


def test_in_memory_it_is_given_again_at_each_boot_by_the_next_daemon_too(core):
    core.pods.create(spec())
    core.setups.apply(POD_ID, Setup(keys=("one",), password="first"))
    core.setups.apply(POD_ID, Setup(keys=("two",), password="second"))
    path = core.repository.directory(POD_ID) / "setup.json"
    assert path.stat().st_mode & 0o777 == 0o600
    core.pods.stop(POD_ID, force=True)
    again = core.restarted()
    again.monitor.reconcile()
    again.pods.boot(POD_ID)
    (asked,) = account(again)
    assert (asked["keys"], asked["password"]) == (["one", "two"], "second")
    assert again.pods.get(POD_ID).state is PodState.READY
    again.pods.delete(POD_ID)
    assert again.left() == []


def test_on_a_disk_it_is_given_once(core):
    core.pods.create(spec(root_gib=1))
    core.setups.apply(POD_ID, Setup(keys=("one",)))
    core.pods.stop(POD_ID, force=True)
    core.pods.boot(POD_ID)
    assert account(core) == []


def test_a_kept_setup_that_is_damaged_does_not_keep_a_pod_from_booting(core):
    core.pods.create(spec())
    core.setups.apply(POD_ID, Setup(keys=("one",)))
    (core.repository.directory(POD_ID) / "setup.json").write_text("{")
    core.pods.stop(POD_ID, force=True)
    assert core.pods.boot(POD_ID).state is PodState.READY


def test_a_pod_that_is_not_up_is_given_nothing(core):
    with pytest.raises(PodNotFound):
        core.setups.apply(POD_ID, SETUP)
    core.pods.create(spec())
    core.pods.start(POD_ID)
    core.power.pause(POD_ID)
    with pytest.raises(PodPaused):
        core.setups.apply(POD_ID, SETUP)
    core.pods.stop(POD_ID, force=True)
    with pytest.raises(Conflict, match="stopped"):
        core.setups.apply(POD_ID, SETUP)
    assert core.repository.setup(POD_ID) is None


def test_an_agent_that_is_too_old_is_told(core):
    core.guests.features -= {"setup"}
    core.pods.create(spec())
    with pytest.raises(GuestFailed, match="hyperctl guest build"):
        core.setups.apply(POD_ID, SETUP)


def test_what_the_agent_refuses_is_the_callers(core):
    core.pods.create(spec())
    core.agent().fail("account.set", AgentError("invalid", '"shadow" is no regular file'))
    with pytest.raises(GuestFailed, match=r"container main: .*no regular file"):
        core.setups.apply(POD_ID, Setup(password="p"))
    assert core.repository.setup(POD_ID) is None


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (injected("relative"), "absolute path"),
        (injected("/a/../b"), "absolute path"),
        (injected("/a//b"), "absolute path"),
        (injected("/a/"), "absolute path"),
        (injected("/a\nb"), "absolute path"),
        (injected("/"), "cannot be injected at /"),
        (injected("/dev/x"), "cannot be injected at /dev/x"),
        (injected("/" + "x" * 256), "a path as long as"),
        (injected("/" + "x/" * 2100 + "x"), "a path as long as"),
        (InjectedFile("/x", "?"), "not base64"),
        (injected("/etc/resolv.conf"), "the pod makes it itself"),
        (injected("/mnt/x"), "at /mnt, which would hide it"),
        (injected("/data"), "at /data, which would hide it"),
    ],
)
def test_a_file_that_would_not_be_there_is_refused(file, words):
    mounted = Container("main", "web:1", mounts=(Mount("v", "/data"),))
    pod = spec(containers=(mounted,), volumes=(Volume("v"),), ephemerals=(EphemeralDisk(1),))
    giving.check(pod, SETUP)
    with pytest.raises(InvalidRequest, match=words):
        giving.check(pod, Setup((FILE, file)))


def test_of_files_that_are_refused_none_is_given(core):
    core.pods.create(spec())
    with pytest.raises(InvalidRequest):
        core.setups.apply(POD_ID, Setup((FILE, injected("/etc/hosts"))))
    assert not {"account.set", "archive.put"} & set(core.agent().asked)


def test_setups_of_different_users_do_not_mix():
    first = Setup((FILE,), "root", ("a",), "p")
    same = giving.merged(first, Setup((injected("/etc/motd", b"new"),), "root", ("b", "a")))
    assert same == Setup((injected("/etc/motd", b"new"),), "root", ("a", "b"), "p")
    assert giving.merged(first, Setup((), "web", ("b",))) == Setup((FILE,), "web", ("b",))


class Source(io.BytesIO):
    """An upload."""


def test_a_config_drive_is_a_disk_of_the_pod_and_goes_with_it(core):
    core.setups.store_config_drive(POD_ID, Source(ISO))
    path = core.repository.config_drive(POD_ID)
    assert path.stat().st_mode & 0o777 == 0o600
    core.pods.create(spec(config_drive=True))
    (domain,) = core.hypervisor.launched
    drive = domain.disks[-1]
    assert (drive.path, drive.serial, drive.readonly) == (path, "config", True)
    (mount,) = [args for op, args in core.agent().requests if op == "disk.mount"]
    assert mount == {
        "serial": "config",
        "path": "/mnt/config",
        "format": "iso9660",
        "label": "config-2",
    }
    core.pods.stop(POD_ID)
    core.pods.boot(POD_ID)
    assert core.hypervisor.launched[-1].disks == domain.disks
    core.pods.delete(POD_ID)
    assert core.left() == []


@pytest.mark.parametrize("data", [b"", b"no image", ISO[:-1], bytes((64 << 20) + 1)])
def test_what_is_no_config_drive_is_not_kept(core, data):
    with pytest.raises(InvalidRequest):
        core.setups.store_config_drive(POD_ID, Source(data))
    assert core.left() == []
    with pytest.raises(InvalidRequest, match="UUID"):
        core.setups.store_config_drive("../x", Source(ISO))


def test_a_drive_that_breaks_off_leaves_that_of_the_pod_alone(core):
    core.setups.store_config_drive(POD_ID, Source(ISO))
    core.pods.create(spec(config_drive=True))
    with pytest.raises(InvalidRequest):
        core.setups.store_config_drive(POD_ID, Source(b"broken"))
    directory = core.repository.directory(POD_ID)
    assert core.repository.config_drive(POD_ID).read_bytes() == ISO
    assert not [p for p in directory.iterdir() if p.name.startswith(".")]


def test_the_drive_of_a_pod_that_was_never_made_goes_when_that_is_deleted(core):
    core.setups.store_config_drive(POD_ID, Source(ISO))
    with pytest.raises(PodNotFound):
        core.pods.delete(POD_ID)
    assert core.left() == []


def test_and_when_the_daemon_starts_anew(core):
    core.setups.store_config_drive(POD_ID, Source(ISO))
    assert core.restarted().left() == []


def test_a_pod_whose_drive_is_missing_is_not_made(core):
    with pytest.raises(InvalidRequest, match="store it before"):
        core.pods.create(spec(config_drive=True))
    assert core.left() == []
    core.setups.store_config_drive(POD_ID, Source(ISO))
    with pytest.raises(InvalidRequest, match="the config drive is"):
        core.pods.create(
            dataclasses.replace(
                spec(config_drive=True), ephemerals=(EphemeralDisk(1, "/mnt/config"),)
            )
        )
