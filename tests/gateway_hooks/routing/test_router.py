"""The choice of a worker with health and breakers, and what the ends of tries teach."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway_hooks.contract.fleet import OpenBreaker
from gateway_hooks.routing.course import Ending
from gateway_hooks.routing.health import Health
from gateway_hooks.routing.router import Router
from gateway_hooks.routing.table import WorkerTable
from tests.gateway_hooks.world import route, worker

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
ACME, GLOBEX = "tenant-acme", "tenant-globex"
ADAPTER, OTHER = route("a" * 64), route("b" * 64)
A, B = worker("http://a", id="a"), worker("http://b", id="b")


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def router(tmp_path: Path, health: Health) -> Router:
    table = WorkerTable(tmp_path / "workers.json")
    table.replace([A, B])
    return Router(table, health)


def fail(router: Router, endings: Sequence[Ending], *, worker_id: str = "a", now: float = 0.0) -> None:
    for ending in endings:
        router.learn(worker_id, ADAPTER, ending, tenant_id=ACME, now=now)


def placed(router: Router, target=ADAPTER, *, tenant_id: str = ACME, now: float = 0.0) -> str | None:
    found = router.place(target, tenant_id=tenant_id, now=now)
    return found.id if found else None


@pytest.mark.parametrize("ending", ["failed", "adapter", "broken"])
def test_an_adapter_that_fails_somewhere_is_asked_elsewhere_by_its_tenant_alone(
    router: Router, ending: Ending
):
    fail(router, [ending] * 3)

    assert placed(router) == "b"
    assert [placed(router, OTHER), placed(router, tenant_id=GLOBEX), placed(router, route())] == ["a"] * 3


def test_a_worker_that_cannot_be_reached_is_nobodys_for_a_second(router: Router):
    fail(router, ["unreachable"] * 2)

    assert [placed(router, tenant_id=name) for name in (ACME, GLOBEX)] == ["b", "b"]
    assert placed(router, now=1.1) == "a"


@pytest.mark.parametrize("ending", ["busy", "refused", "given_up", "local", "answered"])
def test_what_says_nothing_against_a_worker_opens_nothing(router: Router, ending: Ending):
    fail(router, [ending] * 20)

    assert placed(router) == "a"
    assert router.open_breakers(now=0.0, at=NOW) == ()


def test_a_health_check_that_gets_through_closes_the_way_once_it_has_cooled(router: Router):
    fail(router, ["unreachable"] * 2)

    router.reached("a", now=0.5)
    assert placed(router, now=0.6) == "b"
    router.reached("a", now=1.1)

    assert router.open_breakers(now=1.1, at=NOW) == ()


def test_an_answer_of_any_kind_shows_that_the_worker_can_be_reached(router: Router):
    fail(router, ["unreachable", "failed", "unreachable", "busy", "unreachable"])

    assert placed(router, tenant_id=GLOBEX) == "a"


def test_while_half_open_one_request_is_let_through(router: Router):
    fail(router, ["failed"] * 3)
    assert placed(router, now=5.0) == "a"

    router.begin("a", ADAPTER, tenant_id=ACME, now=5.0)
    router.give_back("a")

    assert placed(router, now=5.1) == "b"
    router.learn("a", ADAPTER, "answered", tenant_id=ACME, now=5.2)
    assert placed(router, now=5.2) == "a"


def test_a_worker_is_sick_after_two_checks_and_well_after_one(router: Router, health: Health):
    health.note(A, "silent")
    assert placed(router) == "a"

    health.note(A, "refused")

    assert (placed(router), router.unhealthy()) == ("b", ("a",))
    health.note(A, "alive")
    assert (placed(router), router.unhealthy()) == ("a", ())


def test_a_worker_that_started_anew_is_given_a_chance(health: Health):
    for _ in range(5):
        health.note(A, "refused")

    assert not health.is_healthy(A)
    assert health.is_healthy(worker("http://a", id="a", boot_id="boot-2"))


def test_what_is_open_is_told_with_its_age(router: Router):
    fail(router, ["failed"] * 3, now=1.0)
    fail(router, ["unreachable"] * 2, worker_id="b", now=3.0)

    told = router.open_breakers(now=6.5, at=NOW)

    assert told == (
        OpenBreaker(worker_id="b", since=NOW - timedelta(seconds=3.5), half_open=True),
        OpenBreaker(
            worker_id="a",
            adapter_digest="a" * 64,
            tenant_id=ACME,
            since=NOW - timedelta(seconds=5.5),
            half_open=True,
        ),
    )


def test_whoever_is_to_be_avoided_is(router: Router):
    assert router.place(ADAPTER, tenant_id=ACME, now=0.0, avoid={"a", "b"}) is None
    assert router.can_serve([ADAPTER], tenant_id=ACME, now=0.0)
