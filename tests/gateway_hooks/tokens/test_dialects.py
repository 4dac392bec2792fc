"""Responses and messages as chat messages."""

from gateway_hooks.tokens.dialects import conversation_of
from tests.gateway_hooks.tokens.conversations import DEVELOPER, MESSAGES, RESPONSES, WEATHER

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}}


def test_instructions_are_a_system_message_and_a_text_is_the_users():
    assert conversation_of("responses", RESPONSES["text"]).messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who are you?"},
    ]


def test_what_an_assistant_says_and_calls_in_a_row_is_one_message():
    conversation = conversation_of("responses", RESPONSES["items"])

    assert conversation.messages[1:] == [
        {"role": "assistant", "content": "hi", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "user", "content": "and tomorrow?"},
    ]


def test_a_call_that_comes_first_gets_its_words_afterwards():
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Köln"}'}
    said = {"role": "assistant", "content": "looking"}

    conversation = conversation_of("responses", {"input": [call, said, said]})

    assert conversation.messages == [
        {"role": "assistant", "content": "looking", "tool_calls": [CALL]},
        {"role": "assistant", "content": "looking"},
    ]


def test_blocks_become_texts_calls_and_results_with_results_first():
    conversation = conversation_of("messages", MESSAGES["blocks"])

    assert [message["role"] for message in conversation.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "user",
    ]
    assert conversation.messages[2]["content"] == "One moment."
    assert conversation.messages[3] == {"role": "tool", "tool_call_id": "t1", "content": "sunny"}


def test_a_chat_is_counted_as_it_is_sent_developers_too():
    assert conversation_of("chat.completions", DEVELOPER).messages == DEVELOPER["messages"]


def test_every_dialects_tools_are_the_same_tools():
    names = {"name": "weather", "description": "The sky"}
    chat = conversation_of(
        "chat.completions",
        {"messages": [], "tools": [{"type": "function", "function": {**names, "parameters": WEATHER}}]},
    )
    responses = conversation_of(
        "responses", {"input": "x", "tools": [{"type": "function", **names, "parameters": WEATHER}]}
    )
    messages = conversation_of("messages", {"messages": [], "tools": [{**names, "input_schema": WEATHER}]})

    assert chat.tools == responses.tools == messages.tools
    assert chat.tools == [{"type": "function", "function": {**names, "parameters": WEATHER}}]


def test_an_effort_is_told_to_the_template():
    expected = {"reasoning_effort": "none", "enable_thinking": False}

    assert (
        conversation_of("chat.completions", {"messages": [], "reasoning_effort": "none"}).options == expected
    )
    assert conversation_of("responses", {"input": "x", "reasoning": {"effort": "none"}}).options == expected
