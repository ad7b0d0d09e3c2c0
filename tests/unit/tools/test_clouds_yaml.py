from __future__ import annotations

import pytest
import yaml

from cloud import clouds_yaml
from cloud.failure import CloudError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "openstack/clouds.yaml"


def test_both_projects_are_offered(site, file):
    clouds_yaml.write(site, file)
    clouds = yaml.safe_load(file.read_text())["clouds"]
    assert {name: entry["auth"]["username"] for name, entry in clouds.items()} == {
        "hyper": "admin",
        "hyper-demo": "demo",
    }


def test_clouds_of_others_stay(site, file):
    file.parent.mkdir()
    file.write_text("clouds: {mine: {region_name: here}}\n")
    clouds_yaml.write(site, file)
    assert yaml.safe_load(file.read_text())["clouds"]["mine"] == {"region_name": "here"}
    clouds_yaml.remove(file)
    assert yaml.safe_load(file.read_text()) == {"clouds": {"mine": {"region_name": "here"}}}


def test_removing_the_only_clouds_removes_the_file(site, file):
    clouds_yaml.write(site, file)
    clouds_yaml.remove(file)
    assert not file.exists()
    clouds_yaml.remove(file)


@pytest.mark.parametrize("text", ["clouds: [1]\n", "- 1\n", "a: b: c\n"])
def test_a_file_that_is_something_else_is_left_alone(site, file, text):
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(CloudError, match="repair it or move it away"):
        clouds_yaml.write(site, file)
    assert file.read_text() == text
