"""What a container runs."""

from __future__ import annotations

import pytest

from nova_hyper.daemon.pods import process
from nova_hyper.spec.container import Container
from nova_hyper.spec.errors import ImageUnsuitable
from nova_hyper.spec.image import ImageConfig

BOTH = ImageConfig(entrypoint=("/e", "e1"), cmd=("c1", "c2"))
ENTRYPOINT = ImageConfig(entrypoint=("/e",))
CMD = ImageConfig(cmd=("/c", "c1"))
NEITHER = ImageConfig()


# The table of Kubernetes, "Define a command and arguments for a container".
@pytest.mark.parametrize(
    ("config", "command", "args", "argv"),
    [
        (BOTH, None, None, ("/e", "e1", "c1", "c2")),
        (BOTH, ("/x",), None, ("/x",)),
        (BOTH, None, ("a",), ("/e", "e1", "a")),
        (BOTH, None, (), ("/e", "e1")),
        (BOTH, ("/x", "x1"), ("a",), ("/x", "x1", "a")),
        (ENTRYPOINT, None, None, ("/e",)),
        (ENTRYPOINT, None, ("a",), ("/e", "a")),
        (ENTRYPOINT, ("/x",), None, ("/x",)),
        (CMD, None, None, ("/c", "c1")),
        (CMD, None, ("/a",), ("/a",)),
        (CMD, ("/x",), None, ("/x",)),
        (CMD, ("/x",), ("a",), ("/x", "a")),
        (NEITHER, ("/x",), None, ("/x",)),
        (NEITHER, None, ("/a",), ("/a",)),
        (NEITHER, ("/x",), (), ("/x",)),
    ],
)
def test_the_command(config, command, args, argv):
    container = Container("main", "web:1", command=command, args=args)
    assert process.resolve(container, config).argv == argv


@pytest.mark.parametrize(
    ("config", "command", "args"),
    [
        (NEITHER, None, None),
        (NEITHER, None, ()),
        (NEITHER, (), ()),
        (CMD, None, ()),
        (NEITHER, ("",), None),
    ],
)
def test_nothing_to_run_is_refused_by_name(config, command, args):
    container = Container("main", "web:1", command=command, args=args)
    with pytest.raises(ImageUnsuitable, match="web:1 has neither Entrypoint nor Cmd"):
        process.resolve(container, config)


def resolve(config=BOTH, **changes):
    return process.resolve(Container("main", "web:1", **changes), config)


def test_the_environment_of_the_pod_comes_on_top():
    config = ImageConfig(cmd=("/c",), env=("PATH=/bin", "A=image", "B=x=y"))
    assert resolve(config, env=("A=pod", "C=")).env == ("PATH=/bin", "A=pod", "B=x=y", "C=")


def test_an_empty_item_of_the_image_is_no_variable():
    assert resolve(ImageConfig(cmd=("/c",), env=("", "A=1"))).env == ("A=1",)


@pytest.mark.parametrize(
    ("image", "pod", "found"),
    [("", None, ""), ("web", None, "web"), ("web", "", ""), ("web", "0:0", "0:0")],
)
def test_the_user(image, pod, found):
    assert resolve(ImageConfig(cmd=("/c",), user=image), user=pod).user == found


@pytest.mark.parametrize(
    ("image", "pod", "found"),
    [("", None, "/"), ("/srv", None, "/srv"), ("/srv", "/tmp", "/tmp"), ("/srv", "", "/srv")],
)
def test_the_working_directory(image, pod, found):
    assert resolve(ImageConfig(cmd=("/c",), working_dir=image), working_dir=pod).cwd == found


@pytest.mark.parametrize(
    ("image", "pod", "found"),
    [("", None, "SIGTERM"), ("SIGQUIT", None, "SIGQUIT"), ("SIGQUIT", "2", "2")],
)
def test_the_stop_signal(image, pod, found):
    config = ImageConfig(cmd=("/c",), stop_signal=image)
    assert resolve(config, stop_signal=pod).stop_signal == found
