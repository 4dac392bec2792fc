"""Services come up in order, are started again when they die, and go down in the opposite order."""

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from portal.ops.conductor import StartError
from portal.ops.services import Step
from tests.portal.ops.stand_ins import broken, staged, starts, steady
from tests.services import wait_until


def test_services_come_up_step_by_step_and_go_down_in_the_opposite_order(tmp_path: Path) -> None:
    first, second = steady(tmp_path, "first"), steady(tmp_path, "second")
    seen: list[list[int]] = []
    steps = [
        Step(services=(first,)),
        Step(title="between", before=lambda: seen.append(starts(tmp_path, "second"))),
        Step(services=(second,)),
    ]

    with staged(tmp_path, first, second) as stage:
        stage.conductor.bring_up(steps)
        stage.conductor.take_down()
        pids = starts(tmp_path, "first") + starts(tmp_path, "second")

        assert seen == [[]]
        assert not any(psutil.pid_exists(pid) for pid in pids)
        lines = stage.output.getvalue().split()
        ended = [lines[index - 1] for index, word in enumerate(lines) if word == "ended"]
        assert ended == ["second", "first"]


def test_a_killed_service_is_started_again(tmp_path: Path) -> None:
    service = steady(tmp_path, "phoenix")

    with staged(tmp_path, service) as stage:
        stage.conductor.bring_up([Step(services=(service,))])
        keeper = threading.Thread(target=stage.conductor.keep_up)
        keeper.start()
        os.kill(starts(tmp_path, "phoenix")[0], signal.SIGKILL)
        try:
            wait_until(lambda: len(starts(tmp_path, "phoenix")) == 2, seconds=20, what="second start")
            wait_until(lambda: "ready again" in stage.output.getvalue(), seconds=20, what="word of it")
        finally:
            stage.asked.stop.set()
            keeper.join()

        assert "phoenix    ended with status 137; starts again in 1 s" in stage.output.getvalue()


def test_a_service_that_cannot_start_is_given_up_with_the_end_of_its_log(tmp_path: Path) -> None:
    service = broken(tmp_path, "lame")

    with staged(tmp_path, service) as stage, pytest.raises(StartError) as caught:
        stage.conductor.bring_up([Step(services=(service,))])

    assert "lame ended 3 times before it was ready" in str(caught.value)
    assert "the stand-in has no licence" in str(caught.value)
    assert str(stage.layout.logs / "lame.log") in str(caught.value)


def test_the_manager_itself_ends_with_its_services_when_it_is_killed(tmp_path: Path) -> None:
    service = steady(tmp_path, "bound")

    with staged(tmp_path, service) as stage:
        stage.conductor.bring_up([Step(services=(service,))])
        pid = starts(tmp_path, "bound")[0]
        os.kill(stage.supervision.pid, signal.SIGKILL)

        wait_until(lambda: not psutil.pid_exists(pid), seconds=20, what="end of the service")
