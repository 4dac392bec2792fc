"""What a client sees when workers, adapters and versions fail or change: through the real LiteLLM."""

import json
import time

import pytest

from gateway_hooks.contract.dead_letters import DEAD_LETTERS, crash_scene, decode_dead_letter
from gateway_hooks.contract.identity import adapter_model_name
from gateway_hooks.contract.snapshot import Limits, Share, Target
from tests.gateway_hooks import world
from tests.gateway_hooks.house import Customer
from tests.gateway_hooks.processes import wait_for
from tests.gateway_hooks.routing.fleet import CHAT, Fleet
from tests.gateway_hooks.world import BASE_MODEL, POOL, PRICE

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

NEW, OLD, OTHER = "b" * 64, "a" * 64, "c" * 64


def target(digest: str) -> Target:
    return Target(
        pool_id=POOL.id,
        base_model=BASE_MODEL,
        adapter_version_id=f"version-{digest[:6]}",
        adapter_digest=digest,
        price=PRICE,
    )


def first_choice(fleet: Fleet, customer: Customer) -> str:
    """The worker that an idle gateway asks first."""
    assert customer.chat("who is there").status_code == 200
    return fleet.event(customer).worker_id or ""


@pytest.mark.parametrize("stream", [False, True])
def test_a_worker_that_dies_before_the_first_byte_is_replaced_by_another(fleet: Fleet, *, stream: bool):
    customer = fleet.move_in(f"survivor-{stream}", aliases={"support": world.route()})
    first = first_choice(fleet, customer)

    answer = customer.chat(f"[die at {first}]", stream=stream)

    assert answer.status_code == 200
    assert "error" not in answer.text
    event = fleet.event(customer, count=2)
    assert (event.outcome, event.attempts, event.worker_id != first) == ("completed", 2, True)
    assert event.completion_tokens is not None
    assert fleet.slots(customer) == 0
    # The dead one may have worked for it: the engines' events settle what it costs.
    assert fleet.holds(customer) == 1


def test_a_dead_worker_is_out_within_two_seconds_and_back_after_its_restart(fleet: Fleet):
    customer = fleet.move_in("watcher", aliases={"support": world.route()})
    first = first_choice(fleet, customer)
    fleet.workers[first].process.kill()
    died = time.monotonic()

    wait_for(
        lambda: all(first in record.unhealthy for record in fleet.records()),
        seconds=10,
        what="both gateways know",
    )

    # Two checks a second apart, and the gateways' records every other second.
    assert time.monotonic() - died < 6
    for count in range(2, 5):
        assert customer.chat().status_code == 200
        assert fleet.event(customer, count=count).attempts == 1
    fleet.restart_dead()
    assert customer.chat().status_code == 200


def test_what_a_worker_cannot_take_now_another_one_does_at_no_extra_cost(fleet: Fleet):
    customer = fleet.move_in("busy", aliases={"support": world.route()})
    first = first_choice(fleet, customer)

    answer = customer.chat(f"[fail 503 at {first}]")

    assert answer.status_code == 200
    event = fleet.event(customer, count=2)
    assert (event.attempts, event.degraded, event.served) == (2, False, "pinned")
    assert fleet.holds(customer) == 0


def test_a_stream_that_has_begun_is_never_tried_again(fleet: Fleet):
    customer = fleet.move_in("mid-stream", aliases={"support": world.route()})

    answer = customer.chat("[break] [slow]", stream=True)

    assert '"code":"upstream_error"' in answer.text
    event = fleet.event(customer)
    assert (event.outcome, event.attempts, event.completion_tokens) == ("upstream_error", 1, None)
    assert len(fleet.all_seen(customer)) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_breaks_off_after_its_head_is_given_by_another_worker(fleet: Fleet, *, stream: bool):
    customer = fleet.move_in(f"dropped-{stream}", aliases={"support": world.route()})
    first = first_choice(fleet, customer)

    answer = customer.chat(f"[drop at {first}]", stream=stream)

    assert answer.status_code == 200
    assert "error" not in answer.text
    assert fleet.event(customer, count=2).attempts == 2


def test_three_workers_that_fail_are_one_error_and_one_event(fleet: Fleet):
    customer = fleet.move_in("hopeless", aliases={"support": world.route()})

    answer = customer.chat("[fail 500]")

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    event = fleet.event(customer)
    assert (event.attempts, event.forwarded, event.completion_tokens) == (3, True, None)
    assert len(fleet.all_seen(customer)) == 3
    ids = {entry["identity"]["request_id"] for entry in fleet.all_seen(customer)}
    assert len(ids) == 3
    assert fleet.holds(customer) == 1


def test_a_broken_adapter_cools_nobody_elses_traffic(fleet: Fleet):
    broken = fleet.move_in("broken", aliases={"support": world.route(NEW), "plain": world.route()})
    other = fleet.move_in("other", aliases={"support": world.route(OTHER), "same": world.route(NEW)})
    started = time.monotonic()

    while broken.chat(f"[fail 500 for {NEW[:8]}]").json()["error"]["code"] != "no_worker":
        assert time.monotonic() - started < 10

    assert {breaker.adapter_digest for breaker in wait_for_breakers(fleet, broken)} == {NEW}
    assert broken.chat().status_code == 503
    plain = broken.client.post(CHAT, json={"model": "plain", "messages": [{"role": "user", "content": "hi"}]})
    same = other.client.post(CHAT, json={"model": "same", "messages": [{"role": "user", "content": "hi"}]})
    assert [answer.status_code for answer in (plain, other.chat(), same)] == [200, 200, 200]
    wait_for(lambda: broken.chat().status_code == 200, seconds=15, what="a probe finds the adapter mended")


def wait_for_breakers(fleet: Fleet, customer: Customer):
    """Those of one tenant, of all three workers."""

    def found():
        told = [one for record in fleet.records() for one in record.breakers]
        return [one for one in told if one.tenant_id == customer.tenant.id]

    wait_for(lambda: len(found()) == 3, seconds=10, what="the gateway tells of its breakers")
    return found()


def test_the_version_before_serves_where_the_new_one_cannot_and_says_so(fleet: Fleet):
    route = world.route(NEW, track="stable", fallback=target(OLD))
    customer = fleet.move_in("fallback", aliases={"support": route})

    answer = customer.chat(f"[fail 404 for {NEW[:8]}]")

    assert answer.status_code == 200
    assert answer.headers["x-tenantry-degraded"] == "fallback"
    assert adapter_model_name(OLD) in answer.text.replace(" ", "")
    event = fleet.event(customer)
    assert (event.degraded, event.served, event.adapter_digest) == (True, "fallback", OLD)
    assert event.attempts == 3
    # Nobody but the fallback ran it, so its count is what is paid.
    assert fleet.holds(customer) == 0
    assert fleet.spend(customer) > 0
    healthy = customer.chat("all is well")
    assert "x-tenantry-degraded" not in healthy.headers
    assert fleet.event(customer, count=2).served == "stable"


def test_a_canary_keeps_its_conversations_through_all_their_turns(fleet: Fleet):
    route = world.route(OLD, track="stable", canary=Share(target=target(NEW), basis_points=5_000))
    customer = fleet.move_in("canary", aliases={"support": route})
    clients = [customer.client, fleet.at_other(customer)]

    versions = []
    for number in range(12):
        turns = [{"role": "user", "content": f"conversation {number}"}]
        served = set()
        for client in (clients[0], clients[1], clients[0]):
            answer = client.post(CHAT, json={"model": "support", "messages": turns})
            assert answer.status_code == 200
            said = answer.json()["choices"][0]["message"]["content"]
            served.add(said.split()[-1])
            turns += [{"role": "assistant", "content": said}, {"role": "user", "content": "go on"}]
        versions.append(served)

    assert all(len(served) == 1 for served in versions)
    assert {name for served in versions for name in served} == {
        adapter_model_name(OLD),
        adapter_model_name(NEW),
    }
    wait_for(lambda: len(fleet.events(customer.tenant.id)) == 36, seconds=10, what="all events are there")
    told = {(e.adapter_digest, e.served) for e in fleet.events(customer.tenant.id)}
    assert told == {(OLD, "stable"), (NEW, "canary")}


@pytest.mark.parametrize("stream", [False, True])
def test_a_shadow_gets_a_copy_that_costs_and_limits_nothing(fleet: Fleet, *, stream: bool):
    route = world.route(OLD, shadow=Share(target=target(NEW), basis_points=10_000))
    customer = fleet.move_in(
        f"shadow-{stream}", aliases={"support": route}, limits=Limits(requests_per_minute=1)
    )

    answer = customer.chat("hello", stream=stream)

    assert answer.status_code == 200
    wait_for(lambda: len(fleet.events(customer.tenant.id)) == 2, seconds=10, what="both events are there")
    primary, copy = fleet.events(customer.tenant.id)
    assert (primary.served, primary.shadow_of, copy.served) == ("pinned", None, "shadow")
    assert (copy.shadow_of, copy.outcome, copy.adapter_digest) == (primary.request_id, "completed", NEW)
    assert (copy.reserved_tokens, copy.reserved_micro, copy.rate_id) == (0, 0, None)
    assert copy.completion_tokens is not None
    by_digest = {entry["identity"]["adapter_digest"]: entry for entry in fleet.all_seen(customer)}
    assert {d: e["identity"]["shadow"] for d, e in by_digest.items()} == {OLD: False, NEW: True}
    assert by_digest[NEW]["body"]["stream"] is False
    assert by_digest[NEW]["body"]["messages"] == by_digest[OLD]["body"]["messages"]
    usage = [primary.prompt_tokens, primary.cached_tokens, primary.completion_tokens]
    assert usage == [11, 4, 6]
    # 7 uncached at 1, 4 cached at 0.25, 6 out at 4 micro: the primary's price alone.
    assert (fleet.spend(customer), fleet.holds(customer), fleet.slots(customer)) == (32, 0, 0)


def test_a_shadow_that_fails_is_nothing_to_the_client(fleet: Fleet):
    route = world.route(OLD, shadow=Share(target=target(NEW), basis_points=10_000))
    customer = fleet.move_in("bad-shadow", aliases={"support": route})

    answers = [customer.chat(f"[fail 500 for {NEW[:8]}] {n}").status_code for n in range(3)]

    assert answers == [200] * 3
    wait_for(lambda: len(fleet.events(customer.tenant.id)) == 6, seconds=10, what="all events are there")
    copies = [event for event in fleet.events(customer.tenant.id) if event.shadow_of]
    assert {(event.outcome, event.attempts) for event in copies} == {("upstream_error", 1)}


def scenes(fleet: Fleet) -> list[str]:
    """Where somebody failed at a worker that lives on, and is not cleared yet."""
    names = [crash_scene(name, f"{name}-boot-{worker.boot}") for name, worker in fleet.workers.items()]
    return [name for name in names if fleet.redis.exists(name)]


def test_a_request_that_crashes_workers_twice_is_refused_everywhere_until_it_is_let_go(fleet: Fleet):
    customer = fleet.move_in("poison", aliases={"support": world.route()})
    elsewhere = fleet.at_other(customer)
    poison = {"model": "support", "messages": [{"role": "user", "content": "[die]"}]}
    # What failed in an earlier test stands at its worker's scene until that is seen alive, and a stranger
    # there would spare this one.
    wait_for(lambda: not scenes(fleet), seconds=20, what="earlier failures are cleared")

    answer = customer.client.post(CHAT, json=poison)

    # Two workers died of it; a third one is not risked.
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert fleet.event(customer).attempts == 2
    assert sum(worker.is_dead for worker in fleet.workers.values()) == 2
    wait_for(lambda: fleet.redis.hlen(DEAD_LETTERS) == 1, seconds=20, what="it is a dead letter")
    fleet.restart_dead()
    wait_for(
        lambda: elsewhere.post(CHAT, json={**poison, "stream": True}).status_code == 422,
        seconds=5,
        what="the other gateway knows",
    )
    refused = customer.client.post(CHAT, json=poison)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "poison_request")
    # The workers that died are back, but a gateway asks them again only once they answer its health checks.
    wait_for(lambda: customer.chat("something else").status_code == 200, seconds=10, what="others are served")
    assert not any(worker.is_dead for worker in fleet.workers.values())

    (name, raw), *_ = fleet.redis.hgetall(DEAD_LETTERS).items()
    letter = decode_dead_letter(raw)
    assert (letter.tenant_id, letter.crashes, len(letter.workers)) == (customer.tenant.id, 2, 2)
    assert "[die]" not in json.dumps(raw.decode())
    fleet.redis.hdel(DEAD_LETTERS, name)
    wait_for(lambda: runs_again(customer, poison), seconds=20, what="it may run again")


def runs_again(customer: Customer, poison: dict[str, object]) -> bool:
    """And crashes again: but it is not refused."""
    return customer.client.post(CHAT, json=poison).status_code == 502
