"""The REST API, without a socket."""

from __future__ import annotations

import json
import threading
import uuid

import pytest
import werkzeug.test
import werkzeug.wrappers

from nova_hyper.daemon.ports import DomainState
from nova_hyper.spec import codec, errors
from tests.unit.daemon.api.conftest import MAX_BODY
from tests.unit.daemon.fakes import IMAGE_ID, POD_ID, image, spec

POD = f"/v1/pods/{POD_ID}"


def body(**changes):
    return codec.encode(spec(**changes))


def refused(response, status=400, code="invalid_request"):
    """The message of an error, which must be of this kind and in the wire form."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert set(response.json) == {"error"}
    assert set(response.json["error"]) == {"code", "message", "details"}
    assert response.json["error"]["code"] == code
    return response.json["error"]["message"]


def cut_short(app, path, data):
    """The answer to a client that goes away after *data* of what it has announced."""
    environ = werkzeug.test.EnvironBuilder(path, method="POST", data=data).get_environ()
    environ["CONTENT_LENGTH"] = "1000"
    return werkzeug.test.TestResponse(
        *werkzeug.test.run_wsgi_app(app, environ), request=werkzeug.wrappers.Request(environ)
    )


def test_creating_answers_201_and_again_200(client):
    first = client.post("/v1/pods", json=body())
    again = client.post("/v1/pods", json=body())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert first.json["state"] == "ready"
    assert codec.encode(spec()) == first.json["spec"]


def test_a_pod_goes_through_its_life(client):
    client.post("/v1/pods", json=body())
    assert client.post(f"{POD}/start").json["state"] == "running"
    assert client.get(POD).json["state"] == "running"
    stopped = client.post(f"{POD}/stop", json={"grace_s": 0.5})
    assert (stopped.json["state"], stopped.json["exit_code"]) == ("stopped", 143)
    nic = {"mac": "52:54:00:00:00:01", "kind": "bridge", "bridge": "br0"}
    booted = client.post(f"{POD}/boot", json={"nics": [nic], "dns": {"nameservers": ["9.9.9.9"]}})
    assert booted.json["state"] == "ready"
    assert booted.json["spec"]["nics"][0]["bridge"] == "br0"
    assert booted.json["spec"]["dns"]["nameservers"] == ["9.9.9.9"]
    assert [p["spec"]["id"] for p in client.get("/v1/pods").json["pods"]] == [POD_ID]
    assert client.delete(POD).status_code == 204
    assert client.get("/v1/pods").json == {"pods": []}
    assert "no pod" in refused(client.get(POD), 404, "pod_not_found")


def test_a_pod_is_found_by_name_and_by_the_beginning_of_its_id(client):
    client.post("/v1/pods", json=body(name="a web/server: 100%"))
    assert client.get("/v1/pods/a%20web%2Fserver%3A%20100%25").json["spec"]["id"] == POD_ID
    assert client.get(f"/v1/pods/{POD_ID[:8]}").json["spec"]["id"] == POD_ID


def test_optional_bodies_may_be_missing(client):
    client.post("/v1/pods", json=body())
    client.post(f"{POD}/start")
    assert client.post(f"{POD}/stop").json["state"] == "stopped"
    assert client.post(f"{POD}/boot").json["state"] == "ready"


WRONG = {
    "no name": (lambda b: b.pop("name"), "'name' is a required property"),
    "unknown member": (lambda b: b.update(colour="red"), "colour"),
    "memory": (lambda b: b.update(memory_mib="64"), "memory_mib: '64' is not of type 'integer'"),
    "vcpus": (lambda b: b.update(vcpus=0), "vcpus: 0 is less than the minimum of 1"),
    "true": (lambda b: b.update(vcpus=True), "vcpus: True is not of type 'integer'"),
    "root": (lambda b: b.update(root_gib=10**30), "root_gib"),
    "integral float": (lambda b: b.update(memory_mib=64.0), "memory_mib: int is needed"),
    "no containers": (lambda b: b.update(containers=[]), "containers: "),
    "container name": (
        lambda b: b["containers"][0].update(name="Web_1"),
        "containers[0].name: 'Web_1' does not match",
    ),
    "newline at the end": (
        lambda b: b["containers"][0].update(name="web\n"),
        "containers[0].name",
    ),
    "env": (lambda b: b["containers"][0].update(env=["A"]), "containers[0].env[0]"),
    "cwd": (lambda b: b["containers"][0].update(working_dir="tmp"), "containers[0].working_dir"),
    "mac": (
        lambda b: b.update(nics=[{"mac": "52:54:00:00:00:XY", "kind": "bridge"}]),
        "nics[0].mac",
    ),
    "nic kind": (lambda b: b.update(nics=[{"mac": "52:54:00:00:00:01", "kind": "x"}]), "nics[0]."),
    "bridge": (
        lambda b: b.update(nics=[{"mac": "52:54:00:00:00:01", "kind": "bridge", "bridge": "a b"}]),
        "nics[0].bridge",
    ),
    "hostname": (lambda b: b.update(hostname="-a"), "hostname"),
    "control character": (lambda b: b.update(name="a\x1b[31m"), "name"),
    "id": (lambda b: b.update(id="1"), "the pod's id must be a UUID"),
    "labels": (lambda b: b.update(labels={"a": 1}), "labels.a"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_message_names_the_member_that_is_wrong(client, core, what):
    change, words = WRONG[what]
    wrong = body()
    change(wrong)
    assert words in refused(client.post("/v1/pods", json=wrong))
    assert core.pods.all() == []


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[]", "the body: [] is not of type 'object'"),
        (b'{"id": NaN}', "NaN is not a number"),
        (b'{"id": Infinity}', "Infinity is not a number"),
        (b"[" * 60000, "nested too deeply"),
        (b'{"id": 1' + b"0" * 5000 + b"}", "not JSON"),
    ],
)
def test_a_body_that_is_not_json_is_refused(client, raw, words):
    assert words in refused(client.post("/v1/pods", data=raw))


def test_a_body_larger_than_allowed_is_refused(client):
    assert f"larger than {MAX_BODY} bytes" in refused(
        client.post("/v1/pods", data=b" " * (MAX_BODY + 1))
    )


def test_the_message_about_a_large_value_is_short(client):
    message = refused(client.post("/v1/pods", json=body() | {"name": ["x" * 50000]}))
    assert message.startswith("name: ")
    assert message.endswith("is not of type 'string'")
    assert len(message) < 500


def test_a_body_that_ends_too_early_is_the_clients_fault(app):
    assert "stopped in the middle" in refused(cut_short(app, "/v1/pods", b"{"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/pods"),
        ("GET", "/v1/pods/"),
        ("PUT", "/v1/pods"),
        ("DELETE", "/v1/pods"),
        ("PATCH", POD),
        ("GET", f"{POD}/start"),
        ("POST", f"{POD}/destroy"),
    ],
)
def test_an_unknown_path_or_method_is_not_found(client, method, path):
    response = client.open(path, method=method)
    code = "pod_not_found" if (method, path) == ("GET", f"{POD}/start") else "not_found"
    message = refused(response, 404, code)
    if code == "not_found":
        assert message == f"there is no {method} {path} in this API"


@pytest.mark.parametrize(
    "cls",
    # Those of a client's own do not cross the border.
    [
        cls
        for cls in sorted(errors._all(errors.HyperError).values(), key=str)
        if cls.__module__ == errors.__name__
    ],
)
def test_every_error_keeps_its_class_status_and_details_over_the_wire(app, client, core, cls):
    core.pods.all = lambda: (_ for _ in ()).throw(cls("it failed; do this", size=3))
    response = client.get("/v1/pods")
    assert response.status_code == cls.status
    back = errors.from_wire(response.json, response.status_code)
    assert type(back) is cls
    assert (back.message, back.details) == ("it failed; do this", {"size": 3})


def test_what_nobody_foresaw_is_500_without_its_traceback(client, core):
    core.pods.all = lambda: 1 / 0
    message = refused(client.get("/v1/pods"), 500, "internal")
    assert "division" not in message
    assert "its log has the details" in message


def test_the_console_is_raw_bytes_from_the_end(client, core):
    client.post("/v1/pods", json=body())
    raw = bytes(range(256)) * 3
    core.repository.console(POD_ID).write_bytes(raw)
    response = client.get(f"{POD}/console?max_bytes=300")
    assert response.data == raw[-300:]
    assert response.content_type == "application/octet-stream"
    assert client.get(f"{POD}/console").data == raw
    assert client.get(f"{POD}/console?max_bytes=0").data == b""


def test_the_console_goes_on_in_what_virtlogd_has_moved_away(client, core):
    client.post("/v1/pods", json=body())
    console = core.repository.console(POD_ID)
    console.with_name("console.log.0").write_bytes(b"old old old\n")
    console.write_bytes(b"new\n")
    assert client.get(f"{POD}/console").data == b"old old old\nnew\n"
    assert client.get(f"{POD}/console?max_bytes=8").data == b"old\nnew\n"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("max_bytes=many", "max_bytes must be of type integer"),
        ("max_bytes=-1", "max_bytes: -1 is less than the minimum"),
        ("max_bytes=4194305", "max_bytes"),
        ("colour=red", "unknown query parameter colour"),
    ],
)
def test_wrong_query_parameters_are_named(client, query, words):
    client.post("/v1/pods", json=body())
    assert words in refused(client.get(f"{POD}/console?{query}"))


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "61", "x"])
def test_a_wait_that_is_not_a_time_is_refused(client, wait):
    assert "query parameter wait" in refused(client.get(f"/v1/events?wait={wait}"))


def test_events_are_pages_to_go_on_from(client):
    client.post("/v1/pods", json=body())
    client.post(f"{POD}/start")
    page = client.get("/v1/events?after=0").json
    assert [e["kind"] for e in page["events"]] == ["created", "started"]
    assert (page["last"], page["lost"]) == (2, False)
    assert client.get("/v1/events?after=-1").json == {"events": [], "last": 2, "lost": False}
    assert client.get("/v1/events?after=2&wait=0").json["events"] == []


def test_a_client_that_waits_gets_the_event_when_it_comes(app, client):
    client.post("/v1/pods", json=body())
    answers = []
    other = werkzeug.test.Client(app)
    thread = threading.Thread(
        target=lambda: answers.append(other.get("/v1/events?after=1&wait=30").json)
    )
    thread.start()
    client.post(f"{POD}/start")
    thread.join(10)
    assert [e["kind"] for e in answers[0]["events"]] == ["started"]


def test_an_archive_is_imported_as_it_comes(client, images):
    first = client.post("/v1/images?name=web:2", data=b"archive" + b"x" * 100_000)
    assert first.status_code == 201
    assert first.json["names"] == ["web:2"]
    assert images.imported == [("web:2", 100_007)]
    assert client.post("/v1/images", data=b"archive").status_code == 200


def test_what_is_not_an_archive_is_422(client):
    assert refused(client.post("/v1/images?name=x", data=b"no"), 422, "image_invalid")


def test_an_archive_that_ends_too_early_is_the_clients_fault(app, images):
    assert "stopped in the middle" in refused(cut_short(app, "/v1/images", b"archive"))
    assert images.imported == []


def test_images_are_found_by_names_with_slashes(client, images):
    images.images.append(image(id="sha256:" + "b" * 64, names=("registry:5000/team/web:1",)))
    quoted = "/v1/images/registry%3A5000%2Fteam%2Fweb%3A1"
    assert client.get(quoted).json["id"].startswith("sha256:b")
    assert client.get("/v1/images/registry:5000/team/web:1").json["id"].startswith("sha256:b")
    assert client.get(f"/v1/images/{IMAGE_ID}").json["names"] == ["web:1"]
    assert len(client.get("/v1/images").json["images"]) == 2
    assert client.delete(quoted).status_code == 204
    assert refused(client.get(quoted), 404, "image_not_found")
    assert refused(client.delete("/v1/images/in%2Fuse:1"), 409, "image_in_use")


def test_the_host_counts_its_pods(client):
    client.post("/v1/pods", json=body())
    assert client.get("/v1/host").json["pods"] == 1


def test_head_has_no_body(client):
    response = client.head("/v1/version")
    assert response.status_code == 200
    assert response.data == b""


def test_a_nic_that_fits_the_document_and_not_the_pod_is_refused_at_boot(client, core):
    client.post("/v1/pods", json=body())
    client.post(f"{POD}/stop", json={"force": True})
    nic = {"mac": "52:54:00:00:00:01", "kind": "bridge", "bridge": "br0", "mtu": 1500.0}
    assert "mtu" in refused(client.post(f"{POD}/boot", json={"nics": [nic]}))
    nic.update(mtu=1500, addresses=["10.0.0.300/24"])
    assert "10.0.0.300" in refused(client.post(f"{POD}/boot", json={"nics": [nic]}))
    assert core.pods.get(POD_ID).state == "stopped"
    assert core.hypervisor.domains == {}


def test_libvirt_away_is_503(client, core):
    client.post("/v1/pods", json=body())
    core.hypervisor.away = True
    message = refused(client.delete(POD), 503, "hypervisor_unavailable")
    assert "libvirt" in message
    assert core.hypervisor.domains == {POD_ID: DomainState.RUNNING}


def test_the_document_is_served(client):
    document = json.loads(client.get("/v1/openapi.json").data)
    assert document["openapi"].startswith("3.1")
    assert client.get("/v1/version").json["api"] == document["info"]["version"]


def test_a_pod_that_has_changed_is_listed_as_it_is(client, core):
    for number in range(3):
        core.pods.create(spec(str(uuid.UUID(int=number)), f"p{number}"))

    def listed():
        return [(p["spec"]["name"], p["state"]) for p in client.get("/v1/pods").json["pods"]]

    assert listed() == listed() == [("p0", "ready"), ("p1", "ready"), ("p2", "ready")]
    core.pods.start("p1")
    core.pods.delete("p0")
    assert listed() == [("p1", "running"), ("p2", "ready")]
    core.pods.delete("p1")
    core.pods.delete("p2")
    assert listed() == []
