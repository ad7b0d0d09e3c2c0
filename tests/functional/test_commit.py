"""What containers have written: a disk of its own size, and an image when its owner wants one."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nova_hyper.spec.errors import Conflict, HyperError
from nova_hyper.spec.pod import PodState
from tests.functional import listing
from tests.functional.archives import layer, remade
from tests.functional.daemon import Daemon, wait_for

REPO = Path(__file__).resolve().parents[2]
SLEEP = "trap 'exit 0' TERM; echo ready; while true; do sleep 1; done"
# Everything that an image's layer can say of what was there before, and of what was not.
WORK = r"""
set -e
cd /srv/kinds
rm first                         # one of three names
ln ../third fourth
chmod 600 empty                  # has attributes
chown 7:8 with-capability        # loses them
mv setgid moved                  # no copy of it stays
mv sparse /srv/sparse
rm -rf /opt/kept/1* && touch /opt/kept/new
rm -rf /opt/replaced && mkdir -m 711 /opt/replaced && echo x >/opt/replaced/y
chown 3:4 /opt/replaced
rm -rf /srv/owners && echo 'a file now' >/srv/owners
rm -r soft && mkfifo soft
mkdir -p /new/a/b && echo deep >/new/a/b/c && chmod 1777 /new
cd /new
mknod device c 10 20
ln -s /etc/passwd link && ln -s nowhere dangling
truncate -s 5M hole && printf end >>hole
touch 'a
b' 'ünï' "$(printf 'n%.0s' $(seq 255))"
cp /bin/busybox set && chmod 6755 set
touch -d '2001-02-03 04:05:06' old
ln old old-too
rm -f /etc/group && echo 'root:x:0:' >/etc/group
sync
"""


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    """A hyperd with the images ``hard`` (odd files, and a lister) and ``busybox``."""
    with tempfile.TemporaryDirectory(prefix="hyperd-", dir="/run") as name:
        directory = Path(name)
        plain = directory / "plain.tar"
        subprocess.run([REPO / "tools/images/five-layers.sh", plain], check=True)
        top = layer({"list": listing.build(directory).read_bytes()})
        daemon = Daemon(directory, guest, f"t{uuid.uuid4().hex[:6]}-")
        daemon.start()
        hard = remade(plain, directory / "hard.tar", top=top)
        daemon.ctl("load", str(hard), "--name", "hard")
        daemon.ctl("load", str(busybox), "--name", "busybox")
        yield daemon
        daemon.remove()
        assert not daemon.leftovers()


@pytest.fixture
def run(hyperd):
    """Start a pod that waits: ``run(name, image, *options)``; gone after the test."""
    made = []

    def start(name, image, *options, script=SLEEP):
        made.append(name)
        command = ["run", "-d", "--name", name, "-m", "128", *options, "--entrypoint", "/bin/sh"]
        hyperd.ctl(*command, image, "-c", script)
        wait_for(lambda: "ready" in hyperd.ctl("logs", name).stdout, what="the container")
        return name

    yield start
    for name in made:
        hyperd.ctl("rm", "-f", name)


def tree(hyperd, pod):
    return listing.lines(hyperd.ctl("exec", pod, "/list").stdout)


def difference(one, other):
    return {
        name: (one.get(name), other.get(name))
        for name in one.keys() | other.keys()
        if one.get(name) != other.get(name)
    }


def test_a_committed_container_runs_again_as_it_was(hyperd, run):
    pod = run("worker", "hard", "--root", "1")
    untouched = tree(hyperd, pod)
    hyperd.ctl("exec", pod, "sh", "-c", WORK)
    written = tree(hyperd, pod)
    assert len(difference(untouched, written)) > 30
    hyperd.ctl("commit", pod, "worked:1")
    assert difference(written, tree(hyperd, run("again", "worked:1"))) == {}

    # The same, from its disk, by a guest that is booted for it; the pod goes on afterwards.
    hyperd.ctl("stop", pod)
    hyperd.ctl("commit", pod, "worked:2")
    assert hyperd.json("inspect", pod)["state"] == "stopped"
    assert difference(written, tree(hyperd, run("third", "worked:2"))) == {}
    hyperd.ctl("start", pod)
    assert difference(written, tree(hyperd, pod)) == {}


def test_changes_are_those_of_a_dockerfile(hyperd, run):
    pod = run("plain", "busybox")
    change = ['CMD ["echo", "changed"]', "ENV COLOUR=green", "WORKDIR /tmp"]
    options = [word for each in change for word in ("--change", each)]
    hyperd.ctl("commit", *options, pod, "changed:1")
    config = hyperd.json("image", "inspect", "changed:1")[0]["config"]
    assert config["cmd"] == ["echo", "changed"]
    assert "COLOUR=green" in config["env"]
    refused = hyperd.ctl("commit", "--change", "RUN ls", pod, "changed:2", check=False)
    assert refused.returncode == 1
    assert "RUN" in refused.stderr


def test_a_container_stands_still_while_it_is_read(hyperd, run):
    # Never more than one write lies between the numbers of the two files.
    both = "for f in a z; do echo $n >/new; mv /new /$f; done"
    script = f"echo ready; n=0; while true; do n=$((n+1)); {both}; done"
    pod = run("busy", "busybox", script=script)
    hyperd.ctl("exec", pod, "sh", "-c", "mkdir /m; for i in $(seq 500); do echo $i >/m/$i; done")
    hyperd.ctl("commit", pod, "still:1")
    seen = run("still", "still:1", script="echo ready; cat /a /z; sleep 1000")
    wait_for(lambda: len(hyperd.ctl("logs", seen).stdout.split()) == 3, what="both numbers")
    _, a, z = hyperd.ctl("logs", seen).stdout.split()
    assert int(a) - int(z) in (0, 1)
    before = hyperd.ctl("exec", pod, "cat", "/a").stdout
    wait_for(lambda: hyperd.ctl("exec", pod, "cat", "/a").stdout != before, what="the thaw")


def test_what_was_in_memory_is_gone_with_the_pod(hyperd, run):
    pod = run("memory", "busybox")
    hyperd.client.stop_pod(pod, force=True)
    with pytest.raises(Conflict, match=r"in memory.*while it runs"):
        hyperd.client.commit(pod, "nothing:1")
    assert "nothing:1" not in {n for i in hyperd.client.images() for n in i.names}


def test_a_full_disk_is_the_pods_own_trouble(hyperd, run):
    pod = run("full", "busybox", "--root", "1")
    fill = "fallocate -l 700M /big; dd if=/dev/zero of=/rest bs=1M"
    filled = hyperd.ctl("exec", pod, "sh", "-c", fill, check=False)
    assert filled.returncode != 0
    assert "No space left on device" in filled.stderr
    assert hyperd.client.pod(pod).state is PodState.RUNNING
    hyperd.ctl("exec", pod, "rm", "/big", "/rest")
    hyperd.ctl("exec", pod, "sh", "-c", "echo fits >/file")
    assert hyperd.ctl("exec", pod, "cat", "/file").stdout == "fits\n"


def test_a_commit_that_is_cut_leaves_the_pod_and_nothing_else(hyperd, run):
    pod = run("large", "busybox", "--root", "1")
    hyperd.ctl("exec", pod, "dd", "if=/dev/urandom", "of=/large", "bs=1M", "count=30")
    before = hyperd.client.images()
    with pytest.raises(HyperError, match="NONSENSE"):
        hyperd.client.commit(pod, "cut:1", changes=["NONSENSE x"])
    with ThreadPoolExecutor() as pool:
        cut = pool.submit(hyperd.ctl, "commit", pod, "cut:3", check=False)
        wait_for(lambda: list((hyperd.state / "images/tmp").iterdir()), what="the conversion")
        hyperd.kill()
        hyperd.start()
        answer = cut.result()
    hyperd.ctl("exec", pod, "true")
    done = {n for i in hyperd.client.images() for n in i.names}
    # hyperctl asks a daemon that is new once more: what it says is what there is.
    made = {"cut:3"} if answer.returncode == 0 else set()
    assert done - {n for i in before for n in i.names} == made
    assert not list((hyperd.state / "images/tmp").iterdir())


def test_two_commits_at_once_are_two_images(hyperd, run):
    pod = run("twice", "busybox")
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda n: hyperd.client.commit(pod, n), ["twice:1", "twice:2"]))
    assert [i.names for i in images] in (
        [("twice:1",), ("twice:2",)],
        [("twice:1", "twice:2")] * 2,
    )
    assert images[0].layers == images[1].layers
    hyperd.ctl("exec", pod, "true")
