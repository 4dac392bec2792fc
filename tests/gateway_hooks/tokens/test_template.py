"""Templates render as transformers renders them, and get their content as vLLM hands it to them."""

from typing import Any

import pytest

from gateway_hooks.tokens.dialects import conversation_of
from gateway_hooks.tokens.errors import TemplateRefusedError, TokenizerError
from gateway_hooks.tokens.messages import prepared
from gateway_hooks.tokens.template import ChatTemplate
from tests.gateway_hooks.tokens.conversations import CHAT, WITH_TOOLS
from tests.gateway_hooks.tokens.folders import TALKATIVE

CHATML = """\
{% for message in messages %}
{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
WITH_BREAKS = """\
{%- set rest = messages[1:] if messages[0]['role'] == 'system' else messages -%}
{{- bos_token -}}
{%- for message in rest -%}
  {%- if message['role'] == 'assistant' -%}{%- continue -%}{%- endif -%}
  [{{ loop.index0 }}] {{ message['content'] | trim }}
{% endfor -%}
{{ eos_token }}
"""
SPECIAL = {"bos_token": "<s>", "eos_token": "<|end|>"}


def transformers_text(source: str, messages: list[Any], tools: Any, options: dict[str, Any]) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    rendered, _ = render_jinja_template(
        [messages], tools=tools, chat_template=source, add_generation_prompt=True, **SPECIAL, **options
    )
    return str(rendered[0])


@pytest.mark.parametrize("source", [TALKATIVE, CHATML, WITH_BREAKS], ids=["talkative", "chatml", "breaks"])
@pytest.mark.parametrize("fields", [*CHAT.values(), *WITH_TOOLS.values()], ids=[*CHAT, *WITH_TOOLS])
def test_a_conversation_renders_as_with_transformers(source: str, fields: dict[str, Any]):
    template = ChatTemplate(source, SPECIAL)
    conversation = conversation_of("chat.completions", fields)
    messages = prepared(conversation.messages, template)

    ours = template.render(messages, conversation.tools, conversation.options)

    assert ours == transformers_text(source, messages, conversation.tools, conversation.options)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", False),
        ("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}", True),
        ("{% for m in messages %}{% for p in m['content'] | list %}{% endfor %}{% endfor %}", True),
        (
            "{% set rest = messages[1:] %}"
            "{% for m in rest %}{% for p in m.content %}{% endfor %}{% endfor %}",
            True,
        ),
        (
            "{% for m in messages %}{% set content = m.content %}"
            "{% for p in content %}{% endfor %}{% endfor %}",
            True,
        ),
        ("{% for m in messages %}{% for call in m.tool_calls %}{% endfor %}{% endfor %}", False),
        (
            "{% macro show(body) %}{% for p in body %}{% endfor %}{% endmacro %}"
            "{% for m in messages %}{{ show(m.content) }}{% endfor %}",
            True,
        ),
        (
            "{% macro show(body) %}{% for p in body %}{% endfor %}{% endmacro %}"
            "{% for m in messages %}{{ show(body=m.content) }}{% endfor %}",
            True,
        ),
        (
            "{% macro show(content) %}{% for p in content %}{% endfor %}{% endmacro %}"
            "{% for m in messages %}{{ show(m.tool_calls) }}{% endfor %}",
            False,
        ),
        (
            "{% for k, v in messages[0].items() %}{% endfor %}"
            "{% for m in messages %}{{ m.content }}{% endfor %}",
            False,
        ),
    ],
)
def test_a_template_that_loops_over_content_gets_parts(source: str, *, parts: bool):
    assert ChatTemplate(source, {}).parts is parts


def test_a_developer_is_a_system_where_the_template_knows_none():
    template = ChatTemplate(CHATML, {})
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "developer", "content": "Be kind."},
        {"role": "system", "content": "Be brief."},
    ]

    assert prepared(messages, template) == [
        {"role": "system", "content": "Be kind.\n\nBe brief."},
        {"role": "user", "content": "hello"},
    ]


def test_arguments_of_a_call_reach_the_template_as_an_object():
    template = ChatTemplate(CHATML, {})
    texts = ['{"a": 1}', "", "[]", "no JSON", "[" * 100_000]
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": text}} for text in texts]

    (message,) = prepared([{"role": "assistant", "tool_calls": calls}], template)

    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [{"a": 1}, {}, {}, {}, {}]


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no') }}",
        "{{ messages[0].content.nothing.at_all }}",
        "{{ messages.append(1) }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ 1 / 0 }}",
    ],
)
def test_what_a_template_raises_is_a_refusal_without_the_text(source: str):
    template = ChatTemplate(source, {})

    with pytest.raises(TemplateRefusedError) as refused:
        template.render([{"role": "user", "content": "canary"}], None, {})

    assert "canary" not in str(refused.value)


def test_a_text_that_is_no_template_is_no_template():
    with pytest.raises(TokenizerError):
        ChatTemplate("{% for %}", {})
