"""Token issuers: keys that fit their algorithms, secrets nobody reads, addresses that lead nowhere else."""

import json
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from gateway_hooks.contract.sealing import SealingError, issuer_purpose, open_sealed, parse_sealing_keys
from portal.snapshots.services import build_snapshot
from portal.tenants import issuers, jwks
from portal.tenants.errors import TenantError
from portal.tenants.jwks import MAX_BYTES, Allowed, fetch_jwks
from portal.tenants.models import TokenIssuer
from tests import factories
from tests.factories import NOW

SECRET = "a shared secret of forty-eight bytes or even more"
KEY = {"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
KEYRING = f"s1:{'ab' * 32}"


@pytest.fixture(autouse=True)
def _keyring(settings: Any) -> None:
    settings.SECRETS_KEYS = KEYRING


def make_issuer(**changes: Any) -> TokenIssuer:
    app = changes.pop("app", None) or factories.make_app()
    values = {
        "tenant": app.tenant,
        "app": app,
        "name": "Login",
        "issuer": "https://login.example.com/",
        "audience": "chat",
        "algorithms": ["HS256"],
        "secret": SECRET,
        "now": NOW,
        "user": None,
    }
    if "HS256" not in changes.get("algorithms", ["HS256"]):
        values["secret"] = ""
    return issuers.create_issuer(**(values | changes))


def opened(issuer: TokenIssuer) -> list[str]:
    purpose = issuer_purpose(str(issuer.tenant_id))
    return [open_sealed(one, parse_sealing_keys(KEYRING), purpose=purpose) for one in issuer.sealed_secrets]


def make_addressed(name: str, **changes: Any) -> TokenIssuer:
    return make_issuer(
        algorithms=["EdDSA"], name=name, issuer=name, jwks_url=f"https://{name}.example/jwks", **changes
    )


@pytest.mark.django_db
class TestKeeping:
    def test_a_longer_digest_needs_a_longer_secret_first(self) -> None:
        issuer = make_issuer(secret=SECRET[:32])

        with pytest.raises(TenantError) as refused:
            issuers.change_issuer(issuer, algorithms=["HS512"])
        issuers.rotate_secret(issuer=issuer, secret=SECRET * 2, keep_previous=False)
        changed = issuers.change_issuer(issuer, algorithms=["HS512"])

        assert refused.value.code == "issuer_secret_short"
        assert changed.algorithms == ["HS512"]

    def test_a_shared_secret_is_sealed_for_its_tenant_alone(self) -> None:
        issuer = make_issuer()

        sent = build_snapshot(NOW).issuers[str(issuer.pk)]

        assert opened(issuer) == [SECRET]
        assert sent.sealed_secrets == tuple(issuer.sealed_secrets)
        assert SECRET not in repr(vars(TokenIssuer.objects.get()))
        with pytest.raises(SealingError):
            open_sealed(
                issuer.sealed_secrets[0], parse_sealing_keys(KEYRING), purpose=issuer_purpose("another")
            )

    def test_without_a_keyring_nothing_is_kept(self, settings: Any) -> None:
        settings.SECRETS_KEYS = None

        with pytest.raises(TenantError) as refused:
            make_issuer()

        assert refused.value.code == "secrets_keys_missing"
        assert not TokenIssuer.objects.exists()

    def test_a_rotation_takes_both_secrets_until_the_old_one_is_forgotten(self) -> None:
        issuer = make_issuer()

        both = opened(issuers.rotate_secret(issuer=issuer, secret=SECRET[::-1]))
        newest = opened(issuers.forget_old_secrets(issuer=issuer))
        alone = opened(issuers.rotate_secret(issuer=issuer, secret=SECRET + "!", keep_previous=False))

        assert both == [SECRET[::-1], SECRET]
        assert newest == [SECRET[::-1]]
        assert alone == [SECRET + "!"]

    def test_public_keys_and_claims_reach_the_gateways(self) -> None:
        issuer = make_issuer(
            algorithms=["EdDSA"], jwks=[KEY], claim_app="azp", claim_models="models", tokens_per_minute=500
        )

        sent = build_snapshot(NOW).issuers[str(issuer.pk)]

        assert (sent.jwks, sent.claims.app, sent.claims.end_user) == ((KEY,), "azp", "sub")
        assert sent.limits.tokens_per_minute == 500

    def test_one_that_is_switched_off_or_deleted_is_unknown_to_the_gateways(self) -> None:
        issuer = make_issuer()

        issuers.change_issuer(issuer, active=False)
        off = build_snapshot(NOW).issuers
        issuers.delete_issuer(issuer=issuer)

        assert off == build_snapshot(NOW).issuers == {}

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"secret": ""}, "issuer_secret_missing"),
            ({"secret": "short"}, "issuer_secret_short"),
            ({"algorithms": ["HS256", "HS512"]}, "issuer_secret_short"),
            ({"jwks": [KEY]}, "issuer_keys_mixed"),
            ({"algorithms": ["ES256"]}, "issuer_keys_missing"),
            ({"algorithms": ["ES256"], "secret": SECRET}, "issuer_keys_mixed"),
        ],
    )
    def test_keys_must_fit_the_algorithms(self, changes: dict[str, Any], code: str) -> None:
        with pytest.raises(TenantError) as refused:
            make_issuer(**changes)

        assert refused.value.code == code

    @pytest.mark.parametrize(
        "changes",
        [
            {"algorithms": ["none"]},
            {"algorithms": []},
            {"algorithms": ["HS256", "RS256"]},
            {"ip_ranges": ["10.0.0.1/8"]},
            {"algorithms": ["EdDSA"], "jwks": [KEY | {"d": "private"}]},
            {"algorithms": ["EdDSA"], "jwks": [{"kty": "oct", "k": "secret"}]},
        ],
    )
    def test_what_would_weaken_it_is_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(Exception, match=r"(?s).+") as refused:
            make_issuer(**changes)

        assert type(refused.value).__name__ == "ValidationError"
        assert "private" not in str(refused.value).replace("private part", "")

    def test_an_app_of_another_tenant_is_refused(self) -> None:
        with pytest.raises(TenantError) as refused:
            make_issuer(tenant=factories.make_tenant())

        assert refused.value.code == "issuer_foreign_app"


class _Answers(BaseHTTPRequestHandler):
    """Answers with what the test put on its server."""

    def do_GET(self) -> None:
        status, headers, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Not into the tests' output."""


@pytest.fixture
def server() -> Any:
    one = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = Thread(target=one.serve_forever, daemon=True)
    thread.start()
    yield one
    one.shutdown()
    one.server_close()
    thread.join(5)


def url_of(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_port}/keys?v=1"


INSIDE = Allowed(private=True, http=False)


class TestFetching:
    def test_keys_for_signatures_are_taken_and_others_left(self, server: Any) -> None:
        keys = [KEY, KEY | {"kid": "two", "use": "enc"}, {"kty": "oct", "k": "secret"}]
        server.answer = (200, {}, json.dumps({"keys": keys}).encode())

        assert fetch_jwks(url_of(server), allowed=INSIDE) == [KEY]

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            ((302, {"Location": "http://169.254.169.254/"}, b""), "jwks_unreachable"),
            ((500, {}, b""), "jwks_unreachable"),
            ((200, {}, b" " * (MAX_BYTES + 1)), "jwks_too_large"),
            ((200, {}, b"no JSON"), "jwks_invalid"),
            ((200, {}, b'{"keys": []}'), "jwks_invalid"),
            ((200, {}, b'{"keys": [7]}'), "jwks_invalid"),
            ((200, {}, json.dumps({"keys": [KEY | {"d": "x"}]}).encode()), "jwks_invalid"),
        ],
    )
    def test_anything_but_public_keys_is_refused(self, server: Any, answer: Any, code: str) -> None:
        server.answer = answer

        with pytest.raises(TenantError) as refused:
            fetch_jwks(url_of(server), allowed=INSIDE)

        assert refused.value.code == code

    def test_an_answer_that_drips_in_ends_in_time(self, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(jwks, "TOTAL_SECONDS", 0.3)
        server.answer = (200, {"Content-Length": "100"}, b"{")

        with pytest.raises(TenantError) as refused:
            fetch_jwks(url_of(server), allowed=INSIDE)

        assert refused.value.code in {"jwks_unreachable", "jwks_invalid"}

    @pytest.mark.parametrize(
        ("url", "code"),
        [
            ("https://127.0.0.1/keys", "jwks_private_address"),
            ("https://localhost/keys", "jwks_private_address"),
            ("https://[::1]/keys", "jwks_private_address"),
            ("https://[::ffff:10.0.0.1]/keys", "jwks_private_address"),
            ("https://[64:ff9b::a9fe:a9fe]/keys", "jwks_private_address"),
            ("https://[64:ff9b:1::a9fe:a9fe]/keys", "jwks_private_address"),
            ("https://[fec0::1]/keys", "jwks_private_address"),
            ("https://[::127.0.0.1]/keys", "jwks_private_address"),
            ("https://169.254.169.254/latest/meta-data/", "jwks_private_address"),
            ("https://10.1.2.3/keys", "jwks_private_address"),
            ("https://0.0.0.0/keys", "jwks_private_address"),
            ("https://2130706433/keys", "jwks_private_address"),
            ("http://192.0.2.1/keys", "jwks_private_address"),
            ("http://8.8.8.8/keys", "jwks_url_insecure"),
            ("ftp://8.8.8.8/keys", "jwks_url_invalid"),
            ("file:///etc/passwd", "jwks_url_invalid"),
            ("https://user:word@8.8.8.8/", "jwks_url_invalid"),
        ],
    )
    def test_no_address_leads_into_our_own_network(self, url: str, code: str) -> None:
        with pytest.raises(TenantError) as refused:
            fetch_jwks(url, allowed=Allowed(private=False, http=False))

        assert refused.value.code == code

    def test_a_look_up_that_takes_too_long_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        over = Event()
        monkeypatch.setattr(jwks, "LOOK_UP_SECONDS", 0.01)
        monkeypatch.setattr(jwks.socket, "getaddrinfo", lambda *_args, **_options: over.wait(30) and [])

        with pytest.raises(TenantError) as refused:
            fetch_jwks("https://slow.example/keys", allowed=INSIDE)
        over.set()

        assert refused.value.code == "jwks_unreachable"


@pytest.mark.django_db(transaction=True)
def test_runs_beside_each_other_ask_each_address_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        make_addressed(f"i{number}")
    asked: list[str] = []
    start = Barrier(2)

    def fetch(url: str, **_options: Any) -> list[Any]:
        asked.append(url)
        return [KEY]

    def run() -> None:
        start.wait(10)
        issuers.refresh_due_jwks(NOW)
        connection.close()

    monkeypatch.setattr(issuers, "fetch_jwks", fetch)
    runs = [Thread(target=run) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join(30)

    assert len(asked) == len(set(asked)) == 6


@pytest.mark.django_db
class TestRefreshing:
    def test_a_run_ends_when_its_time_is_over_and_the_next_goes_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(9):
            make_addressed(f"i{number}")
        seconds, asked = [0.0], []

        def slow(url: str, **_options: Any) -> list[Any]:
            asked.append(url)
            seconds[0] += 5.0
            message = "It did not answer."
            raise TenantError(message, code="jwks_unreachable")

        monkeypatch.setattr(issuers, "fetch_jwks", slow)
        issuers.refresh_due_jwks(NOW, elapsed=lambda: seconds[0])
        first = len(asked)
        issuers.refresh_due_jwks(NOW + timedelta(seconds=30), elapsed=lambda: seconds[0])
        issuers.refresh_due_jwks(NOW + timedelta(seconds=60), elapsed=lambda: seconds[0])

        assert first == 4
        assert len(asked) == len(set(asked)) == 9

    def test_an_address_that_fails_is_asked_less_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make_addressed("i")
        at: list[int] = []
        minute = 0

        def fetch(_url: str, **_options: Any) -> list[Any]:
            at.append(minute)
            if minute == 0:
                return [KEY]
            message = "It did not answer."
            raise TenantError(message, code="jwks_unreachable")

        monkeypatch.setattr(issuers, "fetch_jwks", fetch)
        for minute in range(0, 240, 5):
            issuers.refresh_due_jwks(NOW + timedelta(minutes=minute))

        assert at == [0, 5, 10, 20, 40, 80, 140, 200]

    def test_another_address_forgets_the_keys_of_the_one_before(self) -> None:
        issuer = make_addressed("i", jwks=[KEY])

        moved = issuers.change_issuer(issuer, jwks_url="https://new.example/jwks")

        assert moved.jwks == []

    def test_keys_are_not_set_beside_an_address(self) -> None:
        issuer = make_addressed("i")

        with pytest.raises(TenantError) as refused:
            issuers.change_issuer(issuer, jwks=[KEY])

        assert refused.value.code == "issuer_keys_fetched"

    def test_new_keys_are_taken_and_a_failure_keeps_the_old_ones_and_says_why(
        self, server: Any, settings: Any
    ) -> None:
        settings.ALLOW_PRIVATE_JWKS = True
        server.answer = (200, {}, json.dumps({"keys": [KEY]}).encode())
        make_issuer(algorithms=["EdDSA"], jwks_url=url_of(server))

        first = issuers.refresh_due_jwks(NOW)
        too_soon = issuers.refresh_due_jwks(NOW + timedelta(minutes=1))
        server.answer = (503, {}, b"")
        failed = issuers.refresh_due_jwks(NOW + timedelta(minutes=5))

        issuer = TokenIssuer.objects.get()
        assert (first, too_soon, failed) == (1, 0, 0)
        assert issuer.jwks == [KEY]
        assert issuer.jwks_fetched_at == NOW
        assert "503" in issuer.jwks_error

    def test_by_default_the_own_network_is_closed(self, server: Any) -> None:
        assert settings.ALLOW_PRIVATE_JWKS is False
        issuer = make_issuer(algorithms=["EdDSA"], jwks_url=url_of(server))

        issuer = issuers.refresh_jwks(issuer=issuer, now=NOW)

        assert issuer.jwks == []
        assert "private network" in issuer.jwks_error
