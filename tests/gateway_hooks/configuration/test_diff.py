"""What a person sees of two versions."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.configuration import Change, diff
from gateway_hooks.contract.pii import PiiPolicy
from gateway_hooks.contract.snapshot import Bound, Configuration

OLD = Configuration(
    version=1,
    system_prompt="Be kind.\nBe brief.\nBe right.",
    defaults={"temperature": 0.5, "seed": 1},
    bounds={"temperature": Bound(low=0, high=1)},
    stop=("END",),
)
NEW = Configuration(
    version=2,
    system_prompt="Be kind.\nBe long.\nBe right.",
    defaults={"temperature": 0.7},
    bounds={"temperature": Bound(low=0, high=2)},
    stop=("END", "STOP"),
    max_output_tokens=50,
    tools=(),
)


def test_every_changed_field_has_its_line():
    assert diff(OLD, NEW) == [
        Change("bounds.temperature.high", "1", "2"),
        Change("defaults.seed", "1", None),
        Change("defaults.temperature", "0.5", "0.7"),
        Change("max_output_tokens", None, "50"),
        Change("stop", "END", "END, STOP"),
        Change(
            "system_prompt",
            OLD.system_prompt,
            NEW.system_prompt,
            ("@@ -1,3 +1,3 @@", " Be kind.", "-Be brief.", "+Be long.", " Be right."),
        ),
        Change("tools", None, "none"),
    ]


def test_the_first_version_is_all_new():
    assert diff(None, Configuration(version=1, system_prompt="Hi")) == [
        Change("system_prompt", None, "Hi", ("@@ -0,0 +1 @@", "+Hi"))
    ]


def test_a_policy_for_personal_data_is_compared_alike():
    before = PiiPolicy(entities={"EMAIL_ADDRESS": "mask"})
    after = PiiPolicy(entities={"EMAIL_ADDRESS": "block"}, ner=True)

    assert diff(before, after) == [
        Change("entities.EMAIL_ADDRESS", "mask", "block"),
        Change("ner", "false", "true"),
    ]


TEXTS = st.text(max_size=30)
MADE = st.builds(
    Configuration,
    version=st.integers(1, 9),
    system_prompt=TEXTS,
    stop=st.lists(TEXTS, max_size=3).map(tuple),
    defaults=st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=3),
    tools=st.none() | st.lists(TEXTS, max_size=2).map(tuple),
)


@given(MADE)
def test_a_version_does_not_differ_from_itself(made):
    assert diff(made, made) == []


@given(MADE, MADE)
def test_the_way_back_is_the_way_there_reversed(old, new):
    there = [(change.field, change.before, change.after) for change in diff(old, new)]

    assert there == [(change.field, change.after, change.before) for change in diff(new, old)]
