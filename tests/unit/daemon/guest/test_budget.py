from __future__ import annotations

from nova_hyper.daemon.guest.budget import Budget


def test_an_honest_agent_is_never_paused() -> None:
    budget = Budget(0.0)
    for second in range(1000):
        for _ in range(50):
            budget.spend(200, float(second))
        assert budget.pause() == 0


def test_a_burst_is_paused_until_it_is_paid() -> None:
    budget = Budget(0.0)
    for _ in range(456):
        budget.spend(0, 0.0)
    assert budget.pause() == 1.0
    budget.spend(0, 2.0)
    assert budget.pause() == 0


def test_large_frames_cost_more() -> None:
    budget = Budget(0.0)
    for _ in range(20):
        budget.spend(64 * 1024, 0.0)
    assert budget.pause() > 0
