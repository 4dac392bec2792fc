"""vLLM's API server with our door, resolver and scheduler: ``python -m inference.vllm_adapter.server``.

Started by the launcher only. Everything is registered in this process before vLLM builds its app, so
nothing depends on installed entry points, which would be skipped silently if they failed.
"""

from inference.process import die_with_parent, end_group_with_launcher


def main() -> None:
    end_group_with_launcher()
    # Here, not above: EngineCore and its workers import this module again and need none of it.
    from vllm.entrypoints.launchers.api_server.entry import main as serve  # noqa: PLC0415

    from inference.vllm_adapter import worker  # noqa: PLC0415
    from inference.vllm_adapter.resolver import register  # noqa: PLC0415

    register(worker.current().bank)
    serve()


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # A process that vLLM spawned: it must not outlive the one that spawned it, not even while it starts.
    die_with_parent()
