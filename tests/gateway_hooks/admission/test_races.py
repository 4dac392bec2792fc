"""Several processes at once: nothing is taken twice, and what a killed one held comes back."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.limits_view import Used, read_used, used_command
from tests.gateway_hooks.admission.cases import MONTH, TENANT, TODAY, admit_now, ask
from tests.gateway_hooks.admission.contender import ALLOWED, EACH, GATE, HOLD_LIMITS, LEASE_MS
from tests.gateway_hooks.processes import wait_for

PROCESSES, TRIALS = 4, 5
SECONDS = 30.0


def contender(mode: str, name: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.gateway_hooks.admission.contender"]
    return subprocess.Popen(
        [*command, mode, os.environ["REDIS_URL"], name], stdout=subprocess.PIPE, text=True
    )


def raced(client: "redis.Redis", mode: str) -> int:
    """How many requests all processes together were admitted."""
    client.flushall()
    client.set(keys.spend_known(TENANT), 1)
    with ExitStack() as stack:
        runs = [stack.enter_context(contender(mode, f"p{number}")) for number in range(PROCESSES)]
        wait_for(lambda: int(client.get("ready") or 0) == PROCESSES, seconds=SECONDS, what="all are ready")
        client.lpush(GATE, *range(PROCESSES))
        answers = [run.communicate(timeout=SECONDS)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * PROCESSES
    return sum(int(answer) for answer in answers)


def used(client: "redis.Redis", scope: str) -> Used:
    command = used_command(TENANT, scope, day=TODAY.name, month=MONTH.name)
    return read_used(client.execute_command(*command))


def test_look_first_and_take_then_overspends(redis_client: "redis.Redis"):
    assert EACH * PROCESSES > ALLOWED

    # A race needs luck, so it may be tried again.
    assert any(raced(redis_client, "unguarded") > ALLOWED for _ in range(TRIALS))


def test_processes_together_never_pass_a_limit_whatever_they_clamp_and_cancel(redis_client: "redis.Redis"):
    admitted = raced(redis_client, "race")

    tenant, key = used(redis_client, "tenant"), used(redis_client, "key.k1")
    assert tenant.requests == tenant.concurrent == admitted <= ALLOWED
    assert tenant.tokens == key.daily_micro <= 20 * ALLOWED
    assert key.kv_bytes == 100 * tenant.tokens
    assert redis_client.hlen(keys.holds(TENANT)) == admitted
    # Less than one more request was left over.
    assert 20 * ALLOWED - tenant.tokens < 20 or admitted == ALLOWED


def test_the_lease_of_a_living_process_stays_and_of_a_killed_one_ends(redis_client: "redis.Redis"):
    leases = keys.leases(TENANT, keys.TENANT_SCOPE)

    with contender("hold", "held") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "None\n"
        first_end = redis_client.zscore(leases, "held") or 0.0
        wait_for(
            lambda: (redis_client.zscore(leases, "held") or 0.0) > first_end + LEASE_MS,
            seconds=SECONDS,
            what="the lease outlives its length",
        )
        meanwhile = admit_now(redis_client, ask("other", tenant=HOLD_LIMITS))
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    wait_for(
        lambda: admit_now(redis_client, ask("other", tenant=HOLD_LIMITS)).refusal is None,
        seconds=SECONDS,
        what="the killed one's lease ends",
    )

    assert (meanwhile.refusal, meanwhile.counters[0].kv_bytes) == ("concurrency", 2000)
    assert used(redis_client, "tenant").kv_bytes == 2000
    assert redis_client.zscore(leases, "held") is None
