"""``python -m portal.ops.prepare [--seed PATH]``: schema, roles and demo, in one process.

One process instead of three, because each would load the whole console again.
"""

import argparse
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="prepare", description=__doc__)
    parser.add_argument("--seed", metavar="PATH", help="seed the demo; its logins and keys go there")
    seed: str | None = parser.parse_args(arguments).seed
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

    import django  # noqa: PLC0415 - the settings are read here, not when this module is imported
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("migrate", interactive=False, verbosity=1)
    call_command("sync_roles")
    if seed is not None:
        call_command("seed_demo", json=seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
