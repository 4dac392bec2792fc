"""``up --json FILE``: readable by its owner only, true after a restart, and gone at the end."""

import json
import os
import signal
import stat
import threading
from pathlib import Path

import pytest

from portal.ops.plan import Options
from portal.ops.services import Step
from portal.ops.session import json_file
from tests.portal.ops.stand_ins import staged, starts, steady
from tests.services import wait_until


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(
        data=tmp_path / "data",
        host="127.0.0.1",
        portal_port=1,
        gateway_port=2,
        worker_port=3,
        postgres_port=None,
        redis_port=None,
        json_file=tmp_path / "up.json",
        demo=True,
    )


def test_the_json_file_lives_as_long_as_the_services_and_follows_their_restarts(
    tmp_path: Path, options: Options
) -> None:
    service = steady(tmp_path, "portal")
    file = tmp_path / "up.json"
    secrets = {"admin": {"username": "admin", "password": "p"}, "keys": {"acme": "sk"}}

    with staged(tmp_path, service) as stage:
        stage.conductor.bring_up([Step(services=(service,))])
        with json_file(options, stage.layout, stage.supervision, secrets, stage.conductor):
            told = json.loads(file.read_text())
            mode = stat.S_IMODE(file.stat().st_mode)
            keeper = threading.Thread(target=stage.conductor.keep_up)
            keeper.start()
            os.kill(told["pids"]["portal"], signal.SIGKILL)
            try:
                wait_until(lambda: len(starts(tmp_path, "portal")) == 2, seconds=20, what="second start")
                second = starts(tmp_path, "portal")[1]
                wait_until(
                    lambda: json.loads(file.read_text())["pids"]["portal"] == second,
                    seconds=20,
                    what="the new process id in the file",
                )
            finally:
                stage.asked.stop.set()
                keeper.join()

    assert mode == 0o600
    assert told["urls"]["gateway"] == "http://127.0.0.1:2"
    assert (told["admin"], told["keys"]) == (secrets["admin"], secrets["keys"])
    assert told["pids"]["up"] == os.getpid()
    assert told["log_dir"] == str(stage.layout.logs)
    assert not file.exists()
