"""Masking and pass-through as the official clients see them, through LiteLLM, and as the worker sees them."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.gateway_hooks.gateway.masking.policies import EMAIL, QUOTED, policy
from tests.gateway_hooks.house import Customer
from tests.gateway_hooks.scripted_house import ScriptedHouse, open_scripted_house

pytestmark = pytest.mark.live

TEXT = f"I am {EMAIL}, they call me {QUOTED}."
SAID = f"Hello {EMAIL}.\u2028 Or {QUOTED}? <EMAIL_"
THOUGHT = f"This is {QUOTED} <"
SCRIPT: dict[str, Any] = {"content": "Hello {0}.\u2028 Or {1}? <EMAIL_", "reasoning": "This is {1} <"}
CALLS = [
    {"name": "send", "arguments": json.dumps({"to": "{0}", "as": "{1}"})},
    {"name": "look", "arguments": json.dumps({"for": ["{1}"]})},
]
PARAMETERS = {"type": "object", "properties": {"to": {"type": "string"}}}
CHAT_TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("send", "look")
]
SECRETS = ("quist", "Boss")
ARGUMENTS = [{"to": EMAIL, "as": QUOTED}, {"for": [QUOTED]}]


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedHouse]:
    with open_scripted_house(tmp_path_factory.mktemp("masking")) as opened:
        yield opened


class Guest:
    """A customer with a policy, and the official clients under its key."""

    def __init__(self, house: ScriptedHouse, name: str, **changes: Any) -> None:
        self.house = house
        self.customer: Customer = house.move_in(name, pii=changes.pop("pii", policy()), **changes)
        secret = self.customer.secret
        self.openai = openai.OpenAI(base_url=f"{house.url}/v1", api_key=secret, max_retries=0)
        self.anthropic = anthropic.Anthropic(base_url=house.url, api_key=secret, max_retries=0)

    def script(self, **script: Any) -> None:
        self.house.script(self.customer, **script)

    def sent(self) -> str:
        """What the worker got, all of it."""
        return json.dumps(self.house.seen(self.customer), ensure_ascii=False)

    def close(self) -> None:
        self.openai.close()
        self.anthropic.close()


@pytest.fixture
def guest(scripted: ScriptedHouse, request: pytest.FixtureRequest) -> Iterator[Guest]:
    """Of this test alone; it reads the policy of a ``policy`` mark's place in ``request.param``."""
    made = Guest(scripted, f"guest-{abs(hash(request.node.name))}", **getattr(request, "param", {}))
    yield made
    made.close()


def chat(guest: Guest, **body: Any) -> Any:
    messages = [{"role": "user", "content": TEXT}]
    return guest.openai.chat.completions.create(model="support", messages=messages, **body)


def test_chat_is_masked_for_the_model_and_restored_for_the_client(guest: Guest):
    guest.script(**SCRIPT, tool_calls=CALLS)

    message = chat(guest, tools=CHAT_TOOLS).choices[0].message

    assert not any(secret in guest.sent() for secret in SECRETS)
    assert message.content == SAID
    assert message.reasoning_content == THOUGHT
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == ARGUMENTS
    assert guest.house.event(guest.customer).pii_counts == {"EMAIL_ADDRESS": 1, "CODENAME": 1}


@pytest.mark.parametrize(("by", "cut"), [(1, 7), (4, 1), (0, 0)])
def test_a_chat_stream_is_restored_per_choice_field_and_tool_call(guest: Guest, by: int, cut: int):
    guest.script(**SCRIPT, tool_calls=CALLS, by=by, cut=cut)

    with guest.openai.chat.completions.stream(
        model="support", messages=[{"role": "user", "content": TEXT}], tools=CHAT_TOOLS, n=2
    ) as stream:
        completion = stream.get_final_completion()

    assert not any(secret in guest.sent() for secret in SECRETS)
    assert [choice.index for choice in completion.choices] == [0, 1]
    for choice in completion.choices:
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == SAID
        assert [json.loads(call.function.arguments) for call in choice.message.tool_calls] == ARGUMENTS


@pytest.mark.parametrize("stream", [False, True])
def test_completions_are_masked_and_restored(guest: Guest, *, stream: bool):
    guest.script(content=SCRIPT["content"], by=3)

    answer = guest.openai.completions.create(model="support", prompt=TEXT, stream=stream, n=2, logprobs=1)

    assert not any(secret in guest.sent() for secret in SECRETS)
    texts = {0: "", 1: ""}
    chunks = list(answer) if stream else [answer]
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] += choice.text
    assert texts == {0: SAID, 1: SAID}
    assert chunks[0].choices[0].logprobs is not None
    assert "quist" not in json.dumps([chunk.choices[0].logprobs.model_dump() for chunk in chunks[:1]])


def test_embeddings_are_of_the_masked_text(guest: Guest):
    answer = guest.openai.embeddings.create(model="support", input=TEXT, encoding_format="float")

    assert answer.data[0].embedding == [0.5, 0.25]
    assert not any(secret in guest.sent() for secret in SECRETS)


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_masked_and_restored(guest: Guest, *, stream: bool):
    guest.script(**SCRIPT, tool_calls=CALLS, by=3)
    tools = [{"type": "function", "strict": False, **tool["function"]} for tool in CHAT_TOOLS]
    asked = {"model": "support", "input": TEXT, "instructions": f"Serve {EMAIL}.", "tools": tools}

    if stream:
        with guest.openai.responses.stream(**asked) as events:
            deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            answer = events.get_final_response()
        assert deltas == SAID
    else:
        answer = guest.openai.responses.create(**asked)

    assert not any(secret in guest.sent() for secret in SECRETS)
    assert answer.output_text == SAID
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == ARGUMENTS
    assert answer.instructions == f"Serve {EMAIL}."


@pytest.mark.parametrize("stream", [False, True])
def test_messages_are_masked_and_restored(guest: Guest, *, stream: bool):
    guest.script(**SCRIPT, tool_calls=CALLS, by=3, cut=5)
    asked: dict[str, Any] = {
        "model": "support",
        "max_tokens": 500,  # the script speaks in pieces of three characters
        "system": f"You serve {EMAIL}.",
        "messages": [{"role": "user", "content": TEXT}],
        "tools": [{"name": name, "input_schema": PARAMETERS} for name in ("send", "look")],
    }

    if stream:
        with guest.anthropic.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = guest.anthropic.messages.create(**asked)

    assert not any(secret in guest.sent() for secret in SECRETS)
    thinking, text, *calls = answer.content
    assert (thinking.thinking, text.text) == (THOUGHT, SAID)
    assert [call.input for call in calls] == ARGUMENTS
    assert answer.stop_reason == "tool_use"


def test_a_tools_round_trip_keeps_one_placeholder_over_its_turns(guest: Guest):
    guest.script(tool_calls=CALLS[:1], reasoning="")
    call = chat(guest, tools=CHAT_TOOLS).choices[0].message
    guest.script(content="Sent to {0}.", by=2)
    history = [
        {"role": "user", "content": TEXT},
        call.model_dump(exclude_none=True, include={"role", "content", "tool_calls"}),
        {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": json.dumps({"sent": EMAIL})},
    ]

    answer = guest.openai.chat.completions.create(model="support", messages=history, tools=CHAT_TOOLS)

    assert answer.choices[0].message.content == f"Sent to {EMAIL}."
    first, second = (seen["body"]["messages"] for seen in guest.house.seen(guest.customer))
    assert second[0] == first[0]
    placeholder = first[0]["content"].split(" ")[2].rstrip(",")
    assert json.loads(second[1]["tool_calls"][0]["function"]["arguments"])["to"] == placeholder
    assert placeholder in second[2]["content"]


@pytest.mark.parametrize("guest", [{"pii": policy(completions=True)}], indirect=True)
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_model_writes_is_masked_where_the_policy_says_so(guest: Guest, *, stream: bool):
    guest.script(content="Ask other@example.net, {0}.", by=4)

    answer = chat(guest, stream=stream, logprobs=True)

    chunks = list(answer) if stream else []
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    text = "".join(pieces) if stream else answer.choices[0].message.content
    assert text.startswith("Ask <EMAIL_ADDRESS_")
    assert text.endswith(f", {EMAIL}.")
    assert "other" not in json.dumps([chunk.model_dump() for chunk in chunks] or answer.model_dump())


def test_a_blocked_entity_reaches_nobody_and_is_named_by_its_code(guest: Guest):
    with pytest.raises(openai.BadRequestError) as caught:
        guest.openai.completions.create(model="support", prompt="pay to DE89 3704 0044 0532 0130 00")

    assert caught.value.code == "pii_blocked"
    assert "3704" not in str(caught.value)
    assert guest.house.seen(guest.customer) == []
    event = guest.house.event(guest.customer)
    assert (event.outcome, event.reason) == ("rejected", "pii_blocked")


def test_token_ids_cannot_be_masked(guest: Guest):
    with pytest.raises(openai.BadRequestError) as caught:
        guest.openai.completions.create(model="support", prompt=[1, 2, 3])

    assert (caught.value.code, caught.value.param) == ("pii_unmaskable", "prompt")


@pytest.mark.parametrize("guest", [{"pii": None}], indirect=True)
def test_structured_output_tools_and_sampling_reach_the_worker_as_they_were_sent(guest: Guest):
    schema = {
        "name": "reply",
        "schema": {"type": "object", "properties": {"a": {"type": "string"}}},
        "strict": True,
    }
    sent = {
        "response_format": {"type": "json_schema", "json_schema": schema},
        "tools": CHAT_TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "send"}},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "seed": 7,
        "stop": ["end"],
        "logit_bias": {"5": 1.0},
        "n": 2,
    }

    chat(guest, **sent, logprobs=True, top_logprobs=2)

    body = guest.house.seen(guest.customer)[0]["body"]
    assert {name: body[name] for name in sent} == sent
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)


@pytest.mark.parametrize("guest", [{"pii": None}], indirect=True)
def test_a_stream_keeps_log_probabilities_usage_and_the_end_of_every_choice(guest: Guest):
    guest.script(content="a\u2028b\u2029c", by=1)
    asked = {"stream": True, "n": 2, "logprobs": True, "stream_options": {"include_usage": True}}

    *chunks, last = chat(guest, **asked)

    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (11, 7)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert [choice.index for choice in choices if choice.finish_reason == "stop"] == [0, 1]
    written = [choice for choice in choices if choice.delta.content]
    assert all(choice.logprobs.content[0].token == choice.delta.content for choice in written)
    assert "".join(choice.delta.content for choice in written if choice.index == 1) == "a\u2028b\u2029c"


@pytest.mark.parametrize("guest", [{"pii": None}], indirect=True)
def test_a_choice_that_finishes_early_does_not_end_the_others(guest: Guest):
    guest.script(content="some words", by=3, in_turn=True)

    chats = list(chat(guest, stream=True, n=3))
    completions = list(guest.openai.completions.create(model="support", prompt="hello", stream=True, n=3))

    for chunks in (chats, completions):
        choices = [choice for chunk in chunks for choice in chunk.choices]
        assert [choice.index for choice in choices if choice.finish_reason == "stop"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (500, openai.InternalServerError, "upstream_error"),
        (503, openai.InternalServerError, "no_worker"),
        (400, openai.BadRequestError, "invalid_request"),
    ],
)
def test_errors_of_a_worker_are_the_clients_exceptions_with_our_codes(
    guest: Guest, status: int, kind: type[openai.APIStatusError], code: str
):
    guest.script(status=status, error=f"worker-7 said {TEXT}")

    with pytest.raises(kind) as caught:
        chat(guest)
    with pytest.raises(anthropic.APIStatusError) as also:
        guest.anthropic.messages.create(
            model="support", max_tokens=5, messages=[{"role": "user", "content": "x"}]
        )

    assert caught.value.code == code
    assert also.value.body["error"]["code"] == code
    assert "worker-7" not in str(caught.value) + str(also.value)


def test_the_clients_list_the_tenants_models(guest: Guest):
    assert [model.id for model in guest.openai.models.list()] == ["base", "support"]


def test_a_wrong_key_is_the_clients_authentication_error(guest: Guest):
    with pytest.raises(openai.AuthenticationError) as caught:
        chat(Wrong(guest))

    assert caught.value.code == "invalid_api_key"


class Wrong:
    def __init__(self, guest: Guest) -> None:
        self.openai = guest.openai.with_options(api_key="sk-nobody")
