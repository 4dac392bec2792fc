"""Two tenants whose tokens one provider signs, each with an audience of its own; and a pen for tokens."""

import base64
import functools
import json
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway_hooks.contract.sealing import issuer_purpose, parse_sealing_keys, seal
from gateway_hooks.contract.snapshot import App, Claims, Issuer, Limits, Snapshot
from gateway_hooks.identity import Caller, IdentityIndex
from tests.gateway_hooks import world

PROVIDER = "https://login.example.com"
SEALING = parse_sealing_keys("k1:" + "ab" * 32)
SALT = b"s" * 32
SECRET = "a shared secret of more than sixty-four bytes, as HS512 demands it ...."
NOW = round(world.NOW.timestamp())
ACME = world.tenant("acme", {"support": world.route(), "base": world.route()})
BETA = world.tenant("beta", {"support": world.route()})
PORTAL_APP = App(id="app-portal", tenant_id=ACME.id, name="Portal", limits=Limits(concurrency=3))
FOREIGN_APP = App(id="app-foreign", tenant_id=BETA.id, name="Foreign", limits=Limits())
FAMILIES = {
    "RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa",
    "ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed25519",
}  # fmt: skip


def private_key(family: str, name: str = "first") -> Any:
    """One key pair per family and name for the whole run: making RSA keys takes its time."""
    return _pair(family, name)


@functools.cache
def _pair(family: str, _name: str) -> Any:
    match family:
        case "rsa":
            return rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            curve = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}[family]
            return ec.generate_private_key(curve())


def jwk(algorithm: str, name: str = "first", **members: Any) -> dict[str, Any]:
    """The public half."""
    family = FAMILIES[algorithm]
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(private_key(family, name).public_key(), as_dict=True)
    return {**made, **members}


def issuer(tenant_id: str = ACME.id, **changes: Any) -> Issuer:
    """By default one RS256 key named k1."""
    made = Issuer(
        id=f"issuer-of-{tenant_id}",
        tenant_id=tenant_id,
        app_id=f"app-of-{tenant_id}",
        issuer=PROVIDER,
        audience=tenant_id,
        algorithms=("RS256",),
        jwks=(jwk("RS256", kid="k1"),),
        claims=Claims(tenant="account", app="app", models="models", budget="budget"),
    )
    return msgspec.structs.replace(made, **changes)


def shared(tenant_id: str = ACME.id, *texts: str, **changes: Any) -> Issuer:
    sealed = tuple(seal(text, SEALING, purpose=issuer_purpose(tenant_id)) for text in texts or (SECRET,))
    return issuer(
        tenant_id, **{"algorithms": ("HS256", "HS512"), "jwks": (), "sealed_secrets": sealed, **changes}
    )


def snapshot(
    *issuers: Issuer, tenants: tuple[Any, ...] = (ACME, BETA), keys: list[Any] | None = None
) -> Snapshot:
    return msgspec.structs.replace(
        world.snapshot(1, list(tenants), keys or []),
        apps={app.id: app for app in (PORTAL_APP, FOREIGN_APP)},
        issuers={entry.id: entry for entry in issuers},
    )


def index(*issuers: Issuer, **changes: Any) -> IdentityIndex:
    return IdentityIndex.build(snapshot(*issuers, **changes), SEALING, salt_secret=SALT)


def claims(tenant: Any = ACME, **changes: Any) -> dict[str, Any]:
    """Good for a minute from now; None takes a claim away."""
    made = {
        "iss": PROVIDER, "aud": tenant.id, "sub": "user-7", "account": tenant.slug,
        "iat": NOW, "exp": NOW + 60, **changes,
    }  # fmt: skip
    return {name: value for name, value in made.items() if value is not None}


def token(algorithm: str = "RS256", *, key: Any = None, headers: Any = None, **changes: Any) -> str:
    key = private_key(FAMILIES[algorithm]) if key is None else key
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def forged(header: Any, payload: Any, signature: bytes = b"x" * 32) -> str:
    """Any three parts."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    return ".".join(coded(part) for part in (*parts, signature))


def coded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def identify(who: IdentityIndex, text: str | None, *, at: float = 0, address: Any = None) -> Caller:
    """``at`` is seconds after now."""
    return who.identify(text, address=address, now=world.NOW + world.timedelta(seconds=at))
