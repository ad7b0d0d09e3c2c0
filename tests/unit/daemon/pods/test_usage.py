"""What an agent says of use is checked: the guest is hostile."""

import pytest

from nova_hyper.daemon.pods import usage
from nova_hyper.spec.errors import GuestFailed

ANSWER = {"uptime_ns": 1, "cpu_ns": 1, "mem_total_kib": 1, "mem_available_kib": 1, "nics": []}


@pytest.mark.parametrize("name", [{}, [], None, 7, True])
def test_a_container_whose_name_is_no_text_is_nobodys(name):
    answer = {**ANSWER, "containers": [{"name": name}]}
    assert usage.stats(answer, ("web",)).containers == ()


@pytest.mark.parametrize("listed", [None, {}, [7], [None], [[]] * 3, [{}] * 100])
def test_what_is_no_list_of_containers_is_refused(listed):
    with pytest.raises(GuestFailed, match="no usable 'containers'"):
        usage.stats({**ANSWER, "containers": listed}, ("web",))
