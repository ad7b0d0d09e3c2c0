"""Operations of several steps."""

from __future__ import annotations

import pytest

from nova_hyper.daemon import plan


class Work:
    def __init__(self, failing=None, error=ValueError, bad_undo=None):
        self.log = []
        self._failing, self._error, self._bad_undo = failing, error, bad_undo

    def step(self, name):
        def do():
            self.log.append(f"do {name}")
            if name == self._failing:
                raise self._error

        def undo():
            self.log.append(f"undo {name}")
            if name == self._bad_undo:
                raise RuntimeError("cannot")

        return plan.Step(name, do, undo)

    def run(self):
        plan.run([self.step(n) for n in "abc"], lambda name: self.log.append(f"done {name}"))


def test_steps_are_done_in_order():
    work = Work()
    work.run()
    assert work.log == ["do a", "done a", "do b", "done b", "do c", "done c"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_step_that_fails_is_undone_and_those_before_it_in_reverse(error):
    work = Work(failing="b", error=error)
    with pytest.raises(error):
        work.run()
    assert work.log == ["do a", "done a", "do b", "undo b", "undo a"]


def test_an_undo_that_fails_is_told_and_does_not_stop_the_others(caplog):
    work = Work(failing="c", bad_undo="b")
    with pytest.raises(ValueError):
        work.run()
    assert work.log[-3:] == ["undo c", "undo b", "undo a"]
    assert "could not undo 'b': cannot" in caplog.text


def test_what_fails_when_told_that_a_step_is_done_undoes_it():
    work = Work()

    def done(name):
        if name == "b":
            raise ValueError

    with pytest.raises(ValueError):
        plan.run([work.step(n) for n in "abc"], done)
    assert work.log == ["do a", "do b", "undo b", "undo a"]


def test_a_step_without_undo_is_fine():
    with pytest.raises(ZeroDivisionError):
        plan.run([plan.Step("a", lambda: 1 / 0)], lambda _name: None)
