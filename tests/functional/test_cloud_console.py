"""Serial consoles as users have them: a URL of the compute API, a websocket, and typing."""

from __future__ import annotations

import base64
import re
import socket

import pytest
from openstack import exceptions

from tests.functional.daemon import wait_for
from tests.functional.websocket import ConsoleClient

pytestmark = pytest.mark.usefixtures("no_leaks")

# What is typed comes back in capitals: a shell would not do that.
ECHO = "echo ready; while read line; do echo heard $line | tr a-z A-Z; done"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: typed}
spec:
  containers:
  - name: main
    command: [sh, -c, "COMMAND"]
    stdin: true
    tty: true
"""


@pytest.fixture
def console_url(cloud):
    """``console_url(server)``: where its console is, with a token for it."""

    def ask(server):
        made = cloud.compute.create_server_remote_console(server, protocol="serial", type="serial")
        assert re.match(r"ws://127\.0\.0\.1:6083/\?token=", made.url)
        return made.url

    return ask


def calculates(url):
    """A shell is there."""
    with ConsoleClient(url) as client:
        client.type("echo $((6*7)) in $(cat /proc/1/comm)\r")
        client.sees("\n42 in ")


def is_refused(url):
    """The proxy lets nobody in."""
    try:
        with ConsoleClient(url) as client:
            return client.rest() == ""
    except Exception:  # it hangs up in the middle of the handshake, which is no class of its own
        return True


def port_of(site, server):
    """The port on the node that the proxy connects to."""
    return int((site.var / "hyperd/pods" / server.id / "console-port").read_text())


def listens(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except ConnectionRefusedError:
        return False


def test_a_user_types_into_a_shell_in_the_pod(make_server, console_url):
    server = make_server()
    calculates(console_url(server))
    with ConsoleClient(console_url(server)) as one, ConsoleClient(console_url(server)) as other:
        for number, client in enumerate((one, other)):
            client.type(f"me={number}; hostname; echo I am $me\r")
        for number, client in enumerate((one, other)):
            client.sees(server.name)
            client.sees(f"\nI am {number}\r\n")
        one.type("head -c 200000 /dev/zero | tr '\\0' x; echo; echo $((7*7))\r")
        assert one.sees("\n49\r\n").count(b"x") >= 200_000
        one.type("exit\r")
        assert "[this session has ended]" in one.rest()


def test_an_image_whose_console_is_its_own_terminal(
    make_server, upload, busybox, tmp_path, console, console_url
):
    from tests.functional import archives

    archive = archives.with_command(busybox, tmp_path / "typed.tar", ECHO)
    server = make_server(image=upload(archive, hyper_console="attach"))
    console(server, "ready")
    with ConsoleClient(console_url(server)) as client:
        client.type("something\r")
        client.sees("HEARD SOMETHING\r\n")
    with ConsoleClient(console_url(server)) as client:  # hanging up has ended nothing
        client.type("more\r")
        client.sees("HEARD MORE\r\n")
    assert "HEARD SOMETHING" in console(server, "HEARD MORE")


def test_a_container_of_a_manifest_that_has_a_terminal(make_server, console, console_url):
    text = base64.b64encode(POD.replace("COMMAND", ECHO).encode()).decode()
    server = make_server(user_data=text)
    console(server, "ready")
    with ConsoleClient(console_url(server)) as client:
        client.type("something\r")
        client.sees("HEARD SOMETHING\r\n")


def test_the_console_is_there_again_after_a_restart_of_hyperd(
    site, cloud, make_server, console_url
):
    from cloud import hyperd, nova, service

    server = make_server()
    before = console_url(server)
    with ConsoleClient(before) as client:
        client.type("echo $((6*7))\r")
        client.sees("42")
        port = port_of(site, server)
        service.kill(site, "hyperd")
        try:
            client.rest()
        finally:
            service.bring_up(site, hyperd.definition(site))
            nova.wait_for_node(site, cloud)
    assert not listens(port)
    # The token of before is good as long as Nova says: the pod has its port again.
    calculates(before)
    calculates(console_url(server))
    assert port_of(site, server) == port


def test_the_console_ends_with_the_server(site, cloud, make_server, wait_status, console_url):
    server = make_server()
    url = console_url(server)
    with ConsoleClient(url) as client:
        client.type("echo $((6*7))\r")
        client.sees("42")
        port = port_of(site, server)
        cloud.compute.stop_server(server)
        wait_status(server, "SHUTOFF")
        client.rest()
    assert not listens(port)
    assert is_refused(url)
    with pytest.raises(exceptions.ConflictException):
        console_url(server)
    cloud.compute.start_server(server)
    wait_status(server, "ACTIVE")
    url = console_url(server)
    calculates(url)
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2, wait=60)
    assert not listens(port)
    assert is_refused(url)
    with pytest.raises(exceptions.NotFoundException):
        console_url(server)


def test_without_its_token_nobody_gets_in(make_server, console_url):
    url = console_url(make_server())
    calculates(url)
    assert is_refused(re.sub("token=.*", "token=d7a5e1f0-0000-4000-8000-000000000001", url))


def test_only_the_kinds_of_console_that_a_pod_has_are_given(cloud, make_server):
    server = make_server()
    with pytest.raises(exceptions.BadRequestException):
        cloud.compute.create_server_remote_console(server, protocol="vnc", type="novnc")


def test_the_console_log_may_be_long_and_hold_any_bytes(
    cloud, make_server, image_running, console
):
    # As much again as Nova is given at most, all of it no text.
    script = (
        r"i=0; while [ $i -lt 5000 ]; do i=$((i+1)); "
        r"printf 'line %s \342\230\203 \377\376 \303\251 \033[1m and much more of it\n' $i; "
        r"done; echo all; sleep 10000"
    )
    server = make_server(image=image_running(script))

    def whole():
        text = cloud.compute.get_server_console_output(server)["output"] or ""
        return text if re.search(r"^all\r?$", text, re.MULTILINE) else None

    text = wait_for(whole, 60, "the end of the log")
    assert 90 * 1024 < len(text) <= 100 * 1024
    assert "line 5000 " in text and "line 1 " not in text
    last = cloud.compute.get_server_console_output(server, length=4)["output"]
    assert last == text[-len(last) :]
    assert re.findall(r"^line (\d+) ", last, re.MULTILINE) == ["4999", "5000"]
