"""Who may serve an alias, at which price it is reserved."""

import msgspec
import pytest

from gateway_hooks.contract.snapshot import Pool, Route, Share, Target
from gateway_hooks.errors import GatewayError
from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.body.parse import parse
from gateway_hooks.gateway.plan import plan_for, price_to_reserve
from gateway_hooks.gateway.ticket import Plan, Ticket
from gateway_hooks.identity import Caller
from tests.gateway_hooks.world import BASE_MODEL, NOW, POOL, PRICE, api_key, route, snapshot, tenant

ENDPOINT = BY_PATH["/v1/chat/completions"]
RAW = b'{"model": "support", "messages": [{"role": "user", "content": "hello"}]}'
OLD, NEW = "a" * 64, "b" * 64
DEARER = msgspec.structs.replace(PRICE, rate_id="rate-2", output_micro=9_000_000)


def target(digest: str | None = OLD, **changes: object) -> Target:
    values = {"pool_id": POOL.id, "base_model": BASE_MODEL, "adapter_digest": digest, "price": PRICE}
    return Target(**{**values, **changes})


def planned(one: Route, *, pool: Pool = POOL) -> tuple[Plan, Ticket]:
    acme = tenant("acme", {"support": one})
    key, _ = api_key(acme.id)
    ticket = Ticket(request_id="r", endpoint=ENDPOINT, ts=NOW, started=0.0)
    plan = plan_for(ticket, snapshot(1, [acme], [key], pool=pool), Caller(acme, key), parse(RAW, ENDPOINT))
    return plan, ticket


def test_a_plain_route_is_its_own_target():
    plan, ticket = planned(route(NEW, track="stable"))

    assert (plan.target.adapter_digest, plan.served, plan.fallback, plan.shadow) == (
        NEW,
        "stable",
        None,
        None,
    )
    assert ticket.route is plan.target
    assert price_to_reserve(plan) == PRICE


def test_either_may_serve_so_the_dearer_price_is_reserved():
    plan, _ = planned(route(NEW, fallback=target(price=DEARER)))

    assert price_to_reserve(plan).output_micro == DEARER.output_micro


@pytest.mark.parametrize(
    "unfit",
    [target(price=None), target(pool_id="gone"), target(NEW)],
    ids=["unpriced", "no pool", "the same"],
)
def test_a_fallback_that_could_not_stand_in_is_none(unfit: Target):
    assert planned(route(NEW, fallback=unfit))[0].fallback is None


@pytest.mark.parametrize("trial", ["canary", "beta"])
def test_what_is_on_trial_falls_back_to_what_everybody_else_gets(trial: str):
    serves = target(NEW) if trial == "beta" else Share(target=target(NEW), basis_points=10_000)
    plan, _ = planned(route(OLD, fallback=target("c" * 64), **{trial: serves}))

    assert plan.served == trial
    assert plan.fallback is not None
    assert (plan.target.adapter_digest, plan.fallback.adapter_digest) == (NEW, OLD)


def test_a_copy_goes_only_where_the_endpoint_is_served():
    share = Share(target=target(NEW), basis_points=10_000)

    assert planned(route(OLD, shadow=share))[0].shadow == share.target
    gone = msgspec.structs.replace(share, target=target(NEW, pool_id="gone"))
    assert planned(route(OLD, shadow=gone))[0].shadow is None


@pytest.mark.parametrize(
    ("one", "pool", "code"),
    [
        (route(pool_id="gone"), POOL, "no_worker"),
        (route(price=None), POOL, "price_missing"),
        (route(), msgspec.structs.replace(POOL, endpoints=("embeddings",)), "endpoint_not_supported"),
    ],
)
def test_what_cannot_be_served_or_charged_is_refused(one: Route, pool: Pool, code: str):
    with pytest.raises(GatewayError) as caught:
        planned(one, pool=pool)

    assert caught.value.code == code
