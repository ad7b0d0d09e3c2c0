"""Changes of a committed image mean what they mean in a Dockerfile."""

import pytest

from nova_hyper.daemon.image.changes import apply_changes
from nova_hyper.spec.errors import InvalidRequest

BASE = {
    "Cmd": ["old"],
    "Env": ["A=1", "B=2"],
    "WorkingDir": "/srv",
    "ExposedPorts": {"80/tcp": {}},
    "Labels": {"x": "y"},
}
CHANGES = {
    'CMD ["a", "b c"]': {"Cmd": ["a", "b c"]},
    "cmd echo $HOME": {"Cmd": ["/bin/sh", "-c", "echo $HOME"]},
    "ENV B=3 C='x y'": {"Env": ["A=1", "B=3", "C=x y"]},
    "ENV C some words": {"Env": ["A=1", "B=2", "C=some words"]},
    "EXPOSE 53/udp 8000-8001": {
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}
    },
    'LABEL a=b "c d"=e': {"Labels": {"x": "y", "a": "b", "c d": "e"}},
    "STOPSIGNAL SIGINT": {"StopSignal": "SIGINT"},
    "USER web:www": {"User": "web:www"},
    "VOLUME /a /b": {"Volumes": {"/a": {}, "/b": {}}},
    'VOLUME ["/a b"]': {"Volumes": {"/a b": {}}},
    "WORKDIR app": {"WorkingDir": "/srv/app"},
    "WORKDIR /x": {"WorkingDir": "/x"},
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.items(), ids=CHANGES)
def test_a_change_changes_what_it_says(change, expected):
    config = dict(BASE)
    apply_changes(config, (change,))
    assert config == {**BASE, **expected}


def test_another_entrypoint_drops_the_arguments_of_the_old_one():
    config = dict(BASE)
    apply_changes(config, ('ENTRYPOINT ["new"]',))
    assert config["Entrypoint"] == ["new"]
    assert "Cmd" not in config


def test_another_entrypoint_keeps_arguments_given_with_it():
    config = dict(BASE)
    apply_changes(config, ('CMD ["arg"]', 'ENTRYPOINT ["new"]'))
    assert config["Cmd"] == ["arg"]


@pytest.mark.parametrize(
    "change",
    [
        "RUN ls",
        "",
        "CMD",
        "CMD [1]",
        "CMD [",
        "ENV",
        "ENV A",
        "ENV A=1 B",
        "LABEL a='",
        "EXPOSE x",
        "EXPOSE 0",
        "EXPOSE 70000",
        "EXPOSE 9-8",
        "USER",
        "USER a\0b",
        "VOLUME [1]",
        "WORKDIR",
    ],
)
def test_a_change_that_cannot_be_is_refused_by_name(change):
    with pytest.raises(InvalidRequest, match="the change"):
        apply_changes({}, (change,))
