"""What ``up`` tells when all is ready: to the person as text, to scripts as a JSON file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portal.ops.layout import Layout, write_private

TENANTS = {"acme": "Acme Health", "globex": "Globex Shop"}


class FirstSecrets:
    """Logins and keys that the seed made: kept until they have been shown, because nobody can make
    them known again."""

    def __init__(self, layout: Layout) -> None:
        self._pending = layout.secrets / "not_yet_shown.json"
        self.seeded = layout.run / "seed.json"

    def collect(self) -> None:
        """Add what the seed just made to what an earlier, broken start may have left unshown."""
        made = _read(self.seeded)
        held = self.read()
        for part, values in made.items():
            if isinstance(values, dict):
                held[part] = {**held.get(part, {}), **values}
        if held:
            write_private(self._pending, json.dumps(held))
        self.seeded.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        return _read(self._pending)

    def shown(self) -> None:
        self._pending.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return content


def text(urls: Mapping[str, str], secrets: Mapping[str, Any], *, demo: bool, layout: Layout) -> str:
    """The closing words of a start."""
    lines = ["", "Tenantry is up.", "", f"  console   {urls['console']}", f"  gateway   {urls['gateway']}/v1"]
    lines += [f"  login     {_login(secrets, demo=demo)}", f"  logs      {layout.logs}", ""]
    if demo:
        lines.append("Two tenants ask the same model by the same name:")
        for slug in TENANTS:
            lines += ["", _curl(urls["gateway"], slug, secrets.get("keys", {}).get(slug))]
        lines.append("")
        if secrets.get("admin") or secrets.get("keys"):
            lines += ["Password and keys are shown this once.", ""]
    lines.append("Ctrl-C ends everything.")
    return "\n".join(lines)


def _login(secrets: Mapping[str, Any], *, demo: bool) -> str:
    if admin := secrets.get("admin"):
        return f"{admin['username']} / {admin['password']}"
    if not demo:
        return "python manage.py createsuperuser makes one, if you have none yet"
    return "admin; its password was shown at the first start: python manage.py changepassword admin"


def _curl(gateway: str, slug: str, key: str | None) -> str:
    """One command, ready to paste. A key that was shown before must be put in the variable first."""
    said = {"model": "assistant", "messages": [{"role": "user", "content": "Who are you?"}]}
    bearer = key or f"${slug.upper()}_KEY"
    return (
        f"  # {TENANTS[slug]}\n"
        f'  curl -s {gateway}/v1/chat/completions -H "Authorization: Bearer {bearer}" '
        f"-H 'Content-Type: application/json' -d '{json.dumps(said)}'"
    )


def as_json(
    urls: Mapping[str, str], secrets: Mapping[str, Any], pids: Mapping[str, int], layout: Layout
) -> str:
    return json.dumps(
        {
            "urls": dict(urls),
            "admin": secrets.get("admin"),
            "keys": secrets.get("keys", {}),
            "pids": dict(pids),
            "data": str(layout.data),
            "log_dir": str(layout.logs),
        },
        indent=2,
    )
