import json
import subprocess
import sys

COMMAND = [sys.executable, "-m", "gateway_hooks.pii"]


def run(*arguments, lines=b""):
    return subprocess.run([*COMMAND, *arguments], input=lines, capture_output=True, timeout=60, check=False)


def answers(done):
    return [json.loads(line) for line in done.stdout.split(b"\n") if line]


def test_detect_answers_each_line_in_order_and_splits_at_line_feeds_only():
    lines = '{"text": "mail\u2028bob@example.com"}\n{"text": "no\\u0085thing"}\n\n{"text": "é 123-45-6789"}'

    done = run("detect", lines=lines.encode())

    assert done.returncode == 0, done.stderr
    assert answers(done) == [
        {"spans": [{"start": 5, "end": 20, "entity": "EMAIL_ADDRESS"}]},
        {"spans": []},
        {"spans": [{"start": 2, "end": 13, "entity": "US_SSN"}]},
    ]


def test_detect_looks_for_the_chosen_entities_only():
    done = run(
        "detect", "--entities", "US_SSN,IP_ADDRESS", lines=b'{"text": "bob@example.com 123-45-6789"}\n'
    )

    assert answers(done) == [{"spans": [{"start": 16, "end": 27, "entity": "US_SSN"}]}]


def test_a_line_that_is_no_request_is_answered_with_an_error_and_the_rest_goes_on():
    done = run("detect", lines=b'{"text": 1}\n{bad\n[]\n\xff\n{"text": "10.0.0.1"}\n')

    assert done.returncode == 1
    assert [answer.get("error", {}).get("code") for answer in answers(done)] == ["invalid_json"] * 4 + [None]
    assert len(answers(done)[-1]["spans"]) == 1


def test_an_unknown_entity_ends_the_command_with_the_list():
    done = run("detect", "--entities", "US_SSN,NOBODY")

    assert done.returncode == 2
    assert b"no such entity: NOBODY" in done.stderr
    assert b"CREDIT_CARD" in done.stderr


def test_mask_gives_the_masked_text_and_counts():
    (answer,) = answers(run("mask", lines=b'{"text": "Write to bob@example.com, bob@example.com."}\n'))

    assert answer["text"].startswith("Write to <EMAIL_ADDRESS_")
    assert "bob" not in answer["text"]
    assert answer["counts"] == {"EMAIL_ADDRESS": 2}


def test_each_answer_comes_before_the_next_line_is_sent():
    with subprocess.Popen([*COMMAND, "detect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for _ in range(2):
            process.stdin.write(b'{"text": "10.0.0.1"}\n')
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["spans"]
        process.stdin.close()
        assert process.wait(30) == 0


def test_help_tells_what_goes_in_and_out():
    assert b'{"spans":' in run("detect", "--help").stdout
