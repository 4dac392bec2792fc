"""Model folders to count with: the demo model's, and one whose template uses all that a template may."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from gateway_hooks.contract.snapshot import Pool
from inference.demo_model import voices
from tests.gateway_hooks import world

TALKATIVE = """\
{%- if tools %}
{{- '<|system|>Tools:\\n' }}
{%- for tool in tools %}
{{- tool | tojson(indent=2) }}
{% endfor %}
{{- '<|end|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
{{- '<|assistant|>' }}
        {%- generation %}
        {%- if message.content is string %}
{{- message.content }}
        {%- else %}
            {%- for part in message.content %}
{{- part.text }}|
            {%- endfor %}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
{{- '\\ncall ' ~ (call | tojson) }}
        {%- endfor %}
        {%- endgeneration %}
    {%- elif message.role == 'tool' %}
{{- '<|user|>' ~ message.tool_call_id ~ ': ' ~ message.content }}
    {%- else %}
{{- '<|' ~ ('system' if message.role == 'system' else 'user') ~ '|>' }}
{{- (message.name ~ ': ') if message.name is defined else '' }}
        {%- for part in message['content'] %}
{{- part.text }}
    & <b>
        {%- endfor %}
    {%- endif %}
{{- eos_token }}
{%- endfor %}
{%- if reasoning_effort is defined %}
{{- 'effort ' ~ reasoning_effort }}
{%- endif %}
{%- if add_generation_prompt %}
{{- '<|assistant|>' }}
{%- endif %}
"""


def demo() -> Path:
    return voices.base_folder()


def talkative(target: Path) -> Path:
    """The demo model under a template of parts, tools and calls, with a token before every plain text."""
    shutil.copytree(demo(), target)
    (target / "chat_template.jinja").write_text(TALKATIVE)
    path = target / "tokenizer.json"
    whole = json.loads(path.read_text())
    first = {"SpecialToken": {"id": "<|pad|>", "type_id": 0}}
    processor = whole["post_processor"]
    processor["single"] = [first, *processor["single"]]
    processor["special_tokens"] = {"<|pad|>": {"id": "<|pad|>", "ids": [256], "tokens": ["<|pad|>"]}}
    path.write_text(json.dumps(whole))
    return target


def pool(folder: Path | str, **changes: Any) -> Pool:
    return msgspec.structs.replace(world.POOL, model=str(folder), **changes)
