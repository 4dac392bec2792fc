"""What can be published, and that everything wrong is named at once."""

import pytest

from gateway_hooks.configuration import ConfigurationError, validate
from gateway_hooks.contract.snapshot import Bound, Configuration

FULL = Configuration(
    version=1,
    system_prompt="You are Acme's assistant.",
    defaults={"temperature": 0.5, "max_tokens": 50, "response_format": {"type": "json_object"}},
    bounds={"temperature": Bound(low=0, high=1), "top_k": Bound(high=50), "n": Bound(high=1)},
    stop=("END",),
    max_output_tokens=100,
    endpoints=("chat.completions", "messages"),
    tools=(),
)


def problems(**fields) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        validate(Configuration(version=1, **fields))
    return [problem.field for problem in caught.value.problems]


def test_a_full_and_an_empty_configuration_can_be_published():
    validate(FULL)
    validate(Configuration(version=1))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"system_prompt": "x" * 32_769}, "system_prompt"),
        ({"system_prompt": " \n"}, "system_prompt"),
        ({"system_prompt": "\ud800"}, "system_prompt"),
        ({"defaults": {"model": "other"}}, "defaults.model"),
        ({"defaults": {"messages": []}}, "defaults.messages"),
        ({"defaults": {"cache_salt": "x"}}, "defaults.cache_salt"),
        ({"defaults": {"stop": "x"}}, "defaults.stop"),
        ({"defaults": {"temperature": 3}}, "defaults.temperature"),
        ({"defaults": {"temperature": "hot"}}, "defaults.temperature"),
        ({"defaults": {"temperature": None}}, "defaults.temperature"),
        ({"defaults": {"top_k": 5}, "endpoints": ("responses",)}, "defaults.top_k"),
        (
            {"defaults": {"temperature": 1}, "bounds": {"temperature": Bound(high=0.5)}},
            "defaults.temperature",
        ),
        ({"defaults": {"top_k": -1}, "bounds": {"top_k": Bound(high=5)}}, "defaults.top_k"),
        ({"defaults": {"max_tokens": 5, "max_completion_tokens": 6}}, "defaults.max_tokens"),
        ({"defaults": {"max_tokens": 50}, "max_output_tokens": 20}, "defaults.max_tokens"),
        ({"bounds": {"temperature": Bound()}}, "bounds.temperature"),
        ({"bounds": {"temperature": Bound(low=1, high=0)}}, "bounds.temperature"),
        ({"bounds": {"temperature": Bound(high=3)}}, "bounds.temperature"),
        ({"bounds": {"temperature": Bound(high=float("nan"))}}, "bounds.temperature"),
        ({"bounds": {"temperature": Bound(high=float("inf"))}}, "bounds.temperature"),
        ({"bounds": {"top_k": Bound(high=1.5)}}, "bounds.top_k"),
        ({"bounds": {"top_k": Bound(high=-1)}}, "bounds.top_k"),
        ({"bounds": {"n": Bound(high=9)}}, "bounds.n"),
        ({"bounds": {"max_tokens": Bound(high=9)}}, "bounds.max_tokens"),
        ({"bounds": {"user": Bound(high=9)}}, "bounds.user"),
        ({"stop": tuple(str(number) for number in range(17))}, "stop"),
        ({"stop": ("",)}, "stop"),
        ({"stop": ("x" * 257,)}, "stop"),
        ({"stop": ("x", "x")}, "stop"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"endpoints": ()}, "endpoints"),
        ({"endpoints": ("chat",)}, "endpoints"),
        ({"endpoints": ("messages", "messages")}, "endpoints"),
        ({"tools": ("",)}, "tools"),
        ({"tools": ("x", "x")}, "tools"),
        ({"tools": tuple(str(number) for number in range(129))}, "tools"),
    ],
    ids=str,
)
def test_what_cannot_be_published_is_named(fields, field: str):
    assert field in problems(**fields)


def test_all_problems_are_told_at_once():
    found = problems(system_prompt=" ", stop=("",), endpoints=(), max_output_tokens=-1)

    assert found == ["system_prompt", "stop", "max_output_tokens", "endpoints"]
