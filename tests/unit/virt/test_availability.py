"""The compute service while hyperd is away."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import pytest
from nova import exception

from nova_hyper.spec.errors import DaemonUnavailable, HypervisorUnavailable
from nova_hyper.virt.availability import Availability

AWAY = DaemonUnavailable("hyperd does not answer on /run/x; start it")


@pytest.fixture
def service():
    service = SimpleNamespace(
        disabled=False,
        disabled_reason=None,
        save=mock.Mock(),
        compute_node=SimpleNamespace(uuid="node"),
    )
    with mock.patch("nova.objects.Service.get_by_compute_host", return_value=service):
        yield service


@pytest.fixture
def virtapi():
    return mock.Mock()


@pytest.fixture
def availability(service, virtapi):
    return Availability(virtapi, "host")


def test_the_service_is_disabled_with_the_reason_and_enabled_again(availability, service, virtapi):
    availability.update(None)
    service.save.assert_not_called()
    availability.update(AWAY)
    assert service.disabled is True
    assert service.disabled_reason == "AUTO: hyperd does not answer on /run/x; start it"
    status = virtapi.update_compute_provider_status
    status.assert_called_with(mock.ANY, "node", enabled=False)
    availability.update(None)
    assert (service.disabled, service.disabled_reason) == (False, None)
    status.assert_called_with(mock.ANY, "node", enabled=True)


def test_nothing_is_written_while_nothing_changes(availability, service):
    for _ in range(3):
        availability.update(AWAY)
    service.save.assert_called_once()


def test_what_an_operator_disabled_stays_so(availability, service):
    service.disabled, service.disabled_reason = True, "maintenance"
    availability.update(AWAY)
    availability.update(None)
    assert (service.disabled, service.disabled_reason) == (True, "maintenance")
    service.save.assert_not_called()


def test_what_an_earlier_life_disabled_is_enabled(availability, service):
    service.disabled, service.disabled_reason = True, "AUTO: hyperd was away"
    availability.update(None)
    assert service.disabled is False


def test_an_error_that_hyperd_reports_is_no_reason(availability, service):
    availability.update(HypervisorUnavailable("libvirt is away"))
    assert service.disabled is False


def test_a_service_that_is_not_registered_yet_is_no_trouble(availability):
    with mock.patch(
        "nova.objects.Service.get_by_compute_host",
        side_effect=exception.ComputeHostNotFound(host="host"),
    ):
        availability.update(None)


def test_a_change_that_could_not_be_written_is_written_the_next_time(availability, service):
    service.save.side_effect = [RuntimeError("the message queue is away"), None]
    availability.update(AWAY)
    service.disabled = False
    availability.update(AWAY)
    assert service.save.call_count == 2


def test_a_trait_that_cannot_be_set_does_not_keep_the_service_enabled(
    availability, service, virtapi
):
    virtapi.update_compute_provider_status.side_effect = RuntimeError("placement is away")
    availability.update(AWAY)
    assert service.disabled is True
