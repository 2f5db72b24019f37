"""`muster match` as a program: both engines over the whole table, lines in the order they came, nothing left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.cli.judging import ENGINES
from tests.support.match_cases import VECTORS
from tests.support.waiting import wait_until

MATCH = [sys.executable, "-m", "shared.cli", "match"]
TABLE: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
WORKER = {"services": ["simulation"], "gpu": {"memory_gb": 24.0}}


def worker_of(case: dict[str, Any]) -> dict[str, Any]:
    return dict(case.get("worker") or TABLE["base"] | case.get("with", {}))


def table_lines() -> list[dict[str, Any]]:
    return [{"worker": worker_of(case), "job": case["job"]} for case in TABLE["cases"]]


def asked(lines: Sequence[object], *options: str) -> tuple[int, list[dict[str, Any]]]:
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    done = subprocess.run([*MATCH, "--jsonl", *options], input=text, capture_output=True, text=True, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("engine", ENGINES)
def test_both_engines_answer_the_whole_table(engine: str) -> None:
    code, answers = asked(
        [{"worker": worker_of(case), "job": case["job"]} for case in TABLE["cases"]], "--engine", engine
    )
    assert code == 0
    assert [answer["match"] for answer in answers] == [case["expect"] for case in TABLE["cases"]]
    assert all((answer["why"] is None) is answer["match"] for answer in answers)


def test_both_engines_say_the_same_in_the_same_words() -> None:
    assert asked(table_lines(), "--engine", "lua") == asked(table_lines(), "--engine", "python")


def test_lua_engine_can_ask_a_store_that_runs(store_url: str) -> None:
    line = {"worker": WORKER, "job": {"service": "simulation"}}
    done = subprocess.run(
        [*MATCH, "--jsonl", "--engine", "lua", "--store-url", store_url],
        input=json.dumps(line),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (69, "")
    assert "muster-hub functions install" in done.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_bad_line_has_its_error_in_its_place(engine: str) -> None:
    good = {"worker": WORKER, "job": {"service": "simulation", "requires": {"gpu.memory_gb": 16}}, "id": 7}
    bad_job = {"worker": WORKER, "job": {"service": "simulation", "requires": {"gpu.memory_gb": {"gte2": 1}}}}
    bad_worker = {"worker": {"a.b": 1}, "job": {"service": "simulation"}}
    code, answers = asked([good, "not json", "", bad_job, bad_worker, {"job": {}}, good], "--engine", engine)
    assert code == 1
    assert [answer.get("match") for answer in answers] == [True, None, None, None, None, None, True]
    errors = [(answer["error"]["code"], answer["error"]["pointer"]) for answer in answers if "error" in answer]
    assert errors == [
        ("malformed_json", ""),
        ("malformed_json", ""),
        ("invalid_requirement", "/job/requires/gpu.memory_gb/gte2"),
        ("invalid_capability", "/worker/a.b"),
        ("invalid_field", "/worker"),
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_line_is_answered_before_the_next_one_is_sent(engine: str) -> None:
    command = [*MATCH, "--jsonl", "--engine", engine]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for service, expected in [("simulation", True), ("comfyui", False)]:
            process.stdin.write(json.dumps({"worker": WORKER, "job": {"service": service}}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["match"] is expected
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_server_stays_behind(number: signal.Signals, tmp_path: Path) -> None:
    command = [*MATCH, "--jsonl", "--engine", "lua"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"worker": WORKER, "job": {"service": "simulation"}}) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        [server] = children(process.pid)
        process.send_signal(number)
        process.wait()
    asyncio.run(wait_until(lambda: not is_running(server), 10, "the server is gone"))
    assert number is signal.SIGKILL or list(tmp_path.iterdir()) == []


def test_single_match_is_told_by_words_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "worker.json").write_text(json.dumps({**WORKER, "accepts": {"customer_id": "acme"}}))
    (tmp_path / "job.json").write_text(json.dumps({"service": "simulation", "customer_id": "acme"}))
    files = ["--worker", str(tmp_path / "worker.json"), "--job", str(tmp_path / "job.json")]
    assert ran(files) == (0, "match\n")
    (tmp_path / "job.json").write_text(json.dumps({"service": "simulation", "customer_id": "evil"}))
    code, said = ran(files)
    assert code == 1
    assert said.startswith("no match (accepts): ")
    code, said = ran([*files, "--json"])
    assert (code, json.loads(said)["why"]["part"]) == (1, "accepts")


@pytest.mark.parametrize("text", ["{", "[]", '{"service": "simulation", "requires": {"a": null}}', '{"servcie": "x"}'])
def test_document_that_is_none_is_a_usage_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "worker.json").write_text(json.dumps(WORKER))
    (tmp_path / "job.json").write_text(text)
    assert ran(["--worker", str(tmp_path / "worker.json"), "--job", str(tmp_path / "job.json")]) == (2, "")


def ran(options: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run([*MATCH, *options], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
