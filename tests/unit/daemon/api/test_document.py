"""The OpenAPI document, and that it says what the code does."""

from __future__ import annotations

import dataclasses
import inspect
import json

import jsonschema
import pytest

from nova_hyper.daemon.api import document
from nova_hyper.daemon.api.handlers import Handlers
from nova_hyper.daemon.api.stream_handlers import StreamHandlers
from nova_hyper.spec import codec
from nova_hyper.spec.container import (
    Container,
    ContainerState,
    ContainerStatus,
    Port,
    Resources,
    Security,
)
from nova_hyper.spec.errors import PodNotFound
from nova_hyper.spec.event import Event, EventKind, EventPage
from nova_hyper.spec.host import Cpu, Host, Version
from nova_hyper.spec.image import Healthcheck, Image, ImageConfig, Layer
from nova_hyper.spec.nic import Dns, Nic, NicKind, Route
from nova_hyper.spec.pod import HostAlias, Mark, Pod, PodSpec, PodState, Rescued, RestartPolicy
from nova_hyper.spec.probe import (
    ExecCheck,
    HttpCheck,
    HttpHeader,
    Probe,
    Probes,
    TcpCheck,
)
from nova_hyper.spec.setup import InjectedFile, Setup, SetupDone
from nova_hyper.spec.shape import Shape
from nova_hyper.spec.stats import ContainerStats, NicStats, PodStats, Process, Top
from nova_hyper.spec.usage import DiskUsage, ImageUsage, PodUsage, Pruned
from nova_hyper.spec.volume import Medium, Mount, Volume, VolumeFile
from tests.unit.daemon import fakes
from tests.unit.fake_hyperd import HOST

DOCUMENT = document.document()
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = {o.id: o for o in document.operations()}

NIC = Nic(
    mac="52:54:00:00:00:01",
    kind=NicKind.OVS,
    bridge="br-int",
    interface_id="0f0e0d0c-0000-4000-8000-00000000000a",
    device="tap0f0e0d0c-00",
    mtu=1450,
    offload=False,
    addresses=("10.0.0.5/24", "2001:db8::5/64"),
    routes=(Route("0.0.0.0/0", "10.0.0.1"),),
)
USAGE = DiskUsage(
    images=(ImageUsage("sha256:0", ("web:1",), 10, 5, 1),),
    pods=(PodUsage(fakes.POD_ID, "web", 5, 1 << 30),),
    layers=2,
    layer_bytes=20,
    reclaimable=3,
    temporary=4,
)
STATS = PodStats(
    uptime_ns=10**12,
    cpu_ns=10**10,
    mem_total_kib=60000,
    mem_available_kib=30000,
    nics=(NicStats("52:54:00:00:00:01", rx_bytes=5, tx_dropped=1),),
    containers=(ContainerStats("main", cpu_ns=10**9, memory_max=1 << 20, pids=2),),
)
FULL_SPEC = PodSpec(
    id=fakes.POD_ID,
    name="web",
    containers=(
        Container("main", "web:1"),
        Container(
            "side",
            "b",
            ("/bin/sh",),
            (),
            ("A=1",),
            "1:1",
            "/tmp",
            "SIGINT",
            Resources(1 << 26, 500, 100, 64),
            (Mount("data", "/data", "sub", True),),
            Security(True, ("CAP_CHOWN",), True, True, (5,), "runtime/default"),
            Probes(
                Probe(exec=ExecCheck(("true",)), delay_s=0.5),
                Probe(tcp=TcpCheck(80, "127.0.0.1")),
                Probe(http=HttpCheck(80, "/", None, (HttpHeader("Host", "a"),))),
            ),
            (Port(80, "TCP", "http"),),
            stdin=True,
            tty=True,
        ),
    ),
    vcpus=2,
    memory_mib=512,
    root_gib=1,
    hostname="web-1.example",
    nics=(NIC,),
    dns=Dns(("10.0.0.2",), ("example.org",)),
    labels={"a": "b"},
    init_containers=(Container("first", "b"),),
    volumes=(
        Volume("data"),
        Volume("secret", Medium.MEMORY, 1, 0o2750, 5, (VolumeFile("a/b", "AA==", 0o400),)),
    ),
    restart_policy=RestartPolicy.ON_FAILURE,
    termination_grace_s=2.5,
    sysctls={"net.core.somaxconn": "1024"},
    host_aliases=(HostAlias("10.0.0.9", ("db", "db.example.org")),),
)
POD = Pod(
    spec=FULL_SPEC,
    state=PodState.STOPPED,
    containers=(
        ContainerStatus("main", "web:1", fakes.IMAGE_ID, ContainerState.EXITED, 137),
        ContainerStatus(
            "side",
            "b",
            fakes.IMAGE_ID,
            ContainerState.WAITING,
            1,
            True,
            3,
            True,
            True,
            "healthy",
            True,
            "OOMKilled",
            "it used more than 64 MiB",
        ),
    ),
    exit_code=137,
    message="stopped on request",
    created_at=1.5,
    started_at=2.5,
    stopped_at=3.5,
    timeline=(Mark("request", 12),),
    qemu_pid=7,
    rescued=Rescued(FULL_SPEC, (ContainerStatus("main", "a", "b", ContainerState.EXITED),)),
)
FRESH_POD = Pod(fakes.spec(), PodState.CREATING, ())
SETUP = Setup(
    (InjectedFile("/etc/motd", "aGVsbG8=", 0o600),), "web", ("ssh-rsa AAAA me",), "$6$salt$hash./"
)
UPLOADS = ("import_image", "import_boot_file", "store_config_drive")
EVENT = Event(7, 1.5, EventKind.EXITED, fakes.POD_ID, "web", 1, "exited with code 1")
EXAMPLES = {
    "Version": [Version("1.0", "1.2.3")],
    "Host": [HOST, dataclasses.replace(HOST, cpu=Cpu("x86_64"))],
    "ImageConfig": [
        ImageConfig(healthcheck=Healthcheck(("CMD", "true"))),
        ImageConfig(),
        ImageConfig(("a",), ("b",), ("C=1",), labels={"a": "b"}),
    ],
    "DiskUsage": [USAGE, DiskUsage((), (), 0, 0, 0, 0)],
    "Pruned": [Pruned(("sha256:0",), ("web:1",), 5)],
    "Image": [fakes.image(), Image("sha256:0", (), "amd64", "linux", "", (), ImageConfig())],
    "Nic": [NIC, Nic("52:54:00:00:00:01", NicKind.TAP)],
    "Dns": [Dns(), FULL_SPEC.dns],
    "Container": list(FULL_SPEC.containers),
    "PodSpec": [FULL_SPEC, fakes.spec()],
    "Shape": [Shape.of(FULL_SPEC), Shape.of(fakes.spec())],
    "Pod": [POD, FRESH_POD],
    "Setup": [SETUP, Setup()],
    "SetupDone": [SetupDone(), SetupDone(True, True)],
    "EventPage": [EventPage((EVENT,), 7), EventPage((), 0, lost=True)],
    "PodStats": [STATS, PodStats(1, 2, 3, 4)],
    "Top": [Top("main", (Process(1, 0, "root", 100, 5, "S", "sleep 1"),)), Top("main", ())],
}
# The dataclasses, and where the document describes each.
PLACES = {
    Version: SCHEMAS["Version"],
    Host: SCHEMAS["Host"],
    Cpu: SCHEMAS["Host"]["properties"]["cpu"],
    Image: SCHEMAS["Image"],
    Layer: SCHEMAS["Image"]["properties"]["layers"]["items"],
    ImageConfig: SCHEMAS["ImageConfig"],
    Healthcheck: SCHEMAS["Healthcheck"],
    DiskUsage: SCHEMAS["DiskUsage"],
    ImageUsage: SCHEMAS["ImageUsage"],
    PodUsage: SCHEMAS["PodUsage"],
    Pruned: SCHEMAS["Pruned"],
    Nic: SCHEMAS["Nic"],
    Route: SCHEMAS["Nic"]["properties"]["routes"]["items"],
    Dns: SCHEMAS["Dns"],
    Container: SCHEMAS["Container"],
    Port: SCHEMAS["Port"],
    Resources: SCHEMAS["Resources"],
    Security: SCHEMAS["Security"],
    Probes: SCHEMAS["Probes"],
    Probe: SCHEMAS["Probe"],
    ExecCheck: SCHEMAS["ExecCheck"],
    TcpCheck: SCHEMAS["TcpCheck"],
    HttpCheck: SCHEMAS["HttpCheck"],
    HttpHeader: SCHEMAS["HttpHeader"],
    Mount: SCHEMAS["Mount"],
    Volume: SCHEMAS["Volume"],
    VolumeFile: SCHEMAS["VolumeFile"],
    HostAlias: SCHEMAS["HostAlias"],
    PodSpec: SCHEMAS["PodSpec"],
    InjectedFile: SCHEMAS["InjectedFile"],
    Setup: SCHEMAS["Setup"],
    SetupDone: SCHEMAS["SetupDone"],
    Shape: SCHEMAS["Shape"],
    Pod: SCHEMAS["Pod"],
    ContainerStatus: SCHEMAS["ContainerStatus"],
    Rescued: SCHEMAS["Pod"]["properties"]["rescued"],
    Mark: SCHEMAS["Pod"]["properties"]["timeline"]["items"],
    PodStats: SCHEMAS["PodStats"],
    NicStats: SCHEMAS["PodStats"]["properties"]["nics"]["items"],
    ContainerStats: SCHEMAS["PodStats"]["properties"]["containers"]["items"],
    Top: SCHEMAS["Top"],
    Process: SCHEMAS["Top"]["properties"]["processes"]["items"],
    EventPage: SCHEMAS["EventPage"],
    Event: SCHEMAS["EventPage"]["properties"]["events"]["items"],
}
ENUMS = {
    NicKind: SCHEMAS["Nic"]["properties"]["kind"],
    PodState: SCHEMAS["Pod"]["properties"]["state"],
    ContainerState: PLACES[ContainerStatus]["properties"]["state"],
    EventKind: PLACES[Event]["properties"]["kind"],
    Medium: SCHEMAS["Volume"]["properties"]["medium"],
    RestartPolicy: SCHEMAS["PodSpec"]["properties"]["restart_policy"],
}
# What a request consists of has defaults; what an answer consists of is always whole.
REQUESTS = (
    *(Nic, Route, Dns, Container, PodSpec, Port, Resources, Security, Probes, Probe, ExecCheck),
    *(Shape, TcpCheck, HttpCheck, HttpHeader, Mount, Volume, VolumeFile, HostAlias),
    *(Setup, InjectedFile),
)


def everything(value):
    """Every object in the document, at any depth."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            yield from everything(item)


def resolve(reference):
    found = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_document_is_openapi_3_1_in_json():
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["title"]
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    # Every key of OpenAPI's root object that we use, and no other.
    assert set(DOCUMENT) == {"openapi", "info", "servers", "paths", "components"}


def test_every_schema_is_json_schema_2020_12():
    for name, schema in SCHEMAS.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("type"), name
    for found in everything(DOCUMENT):
        if isinstance(found.get("schema"), dict):
            jsonschema.Draft202012Validator.check_schema(found["schema"])


def test_every_reference_leads_somewhere():
    references = [o["$ref"] for o in everything(DOCUMENT) if "$ref" in o]
    assert len(references) > 20
    for reference in references:
        assert resolve(reference)


def test_every_operation_has_an_answer_and_says_what_errors_look_like():
    silent = {"show_openapi", "show_version", "list_images", "list_pods", "read_events"}
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            where = f"{method} {path}"
            assert operation["summary"], where
            assert any(code[0] in "12" for code in operation["responses"]), where
            if operation["operationId"] not in silent:
                assert "default" in operation["responses"], where


def test_path_parameters_are_declared():
    for path, item in DOCUMENT["paths"].items():
        declared = [resolve(p["$ref"]) for p in item.get("parameters", ())]
        assert ["{" + p["name"] + "}" for p in declared if p["in"] == "path"] == [
            part for part in path.split("/") if part.startswith("{")
        ]


@pytest.mark.parametrize(("handlers", "stream"), [(Handlers, False), (StreamHandlers, True)])
def test_operations_and_handlers_are_the_same(handlers, stream):
    found = {
        name
        for name, _f in inspect.getmembers(handlers, inspect.isfunction)
        if not name.startswith("_")
    }
    assert {o.id for o in OPERATIONS.values() if o.stream is stream} == found


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_handler_takes_what_its_operation_has(operation):
    handlers = StreamHandlers if operation.stream else Handlers
    taken = set(inspect.signature(getattr(handlers, operation.id)).parameters) - {"self"}
    expected = {p["name"] for p in operation.query}
    expected |= {"ref"} if "{ref}" in operation.path else set()
    expected |= {"body"} if operation.body is not None else set()
    expected |= {"stream"} if operation.id in UPLOADS else set()
    expected |= {"connection"} if operation.stream else set()
    assert taken == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_the_code_says_fits_the_document(name):
    schema = {"components": DOCUMENT["components"], "$ref": f"#/components/schemas/{name}"}
    for example in EXAMPLES[name]:
        jsonschema.Draft202012Validator(schema).validate(codec.encode(example))


@pytest.mark.parametrize("cls", PLACES)
def test_document_and_code_have_the_same_members(cls):
    assert set(PLACES[cls]["properties"]) == {f.name for f in dataclasses.fields(cls)}


@pytest.mark.parametrize("cls", PLACES)
def test_document_and_code_require_the_same_members(cls):
    required = {
        f.name
        for f in dataclasses.fields(cls)
        if cls not in REQUESTS
        or (f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
    }
    assert set(PLACES[cls].get("required", ())) == required


@pytest.mark.parametrize("cls", REQUESTS)
def test_a_request_has_no_unknown_members(cls):
    assert PLACES[cls]["additionalProperties"] is False


@pytest.mark.parametrize("cls", ENUMS)
def test_document_and_code_have_the_same_values(cls):
    assert ENUMS[cls]["enum"] == [member.value for member in cls]


def test_an_error_fits_the_document():
    wire = PodNotFound("there is no pod x", ref="x").to_wire()
    jsonschema.Draft202012Validator(SCHEMAS["Error"]).validate(wire)


def test_the_checker_accepts_the_whole_specification():
    document.check_body(OPERATIONS["create_pod"], codec.encode(FULL_SPEC))
    document.check_body(OPERATIONS["create_pod"], codec.encode(fakes.spec()))


def test_defaults_of_query_parameters_are_filled_in():
    assert document.check_query(OPERATIONS["read_events"], {}) == {"after": 0, "wait": 0}
    assert document.check_query(OPERATIONS["import_image"], {}) == {"name": None}
    found = document.check_query(OPERATIONS["read_events"], {"after": "5", "wait": "1.5"})
    assert found == {"after": 5, "wait": 1.5}
