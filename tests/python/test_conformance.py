"""The cases that every language's client runs: tests/conformance/cases.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from conftest import OnLoop
from sockproc import Client, Completed, aio

CASES = Path(__file__).parent.parent / "conformance" / "cases.txt"
KEYS = {"name", "command", "stdin", "stdout", "stderr", "exit", "signal"}
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}

Case = dict[str, bytes]


def unescape(text: bytes) -> bytes:
    return re.sub(
        rb"\\(?:x([0-9a-f]{2})|(.))",
        lambda m: bytes.fromhex(m[1].decode()) if m[1] else ESCAPES[m[2]],
        text,
    )


def read_cases() -> Iterator[Case]:
    for record in CASES.read_bytes().split(b"\n\n"):
        case: Case = {}
        for line in record.split(b"\n"):
            if not line or line.startswith(b"#"):
                continue
            key, value = line.split(b":", 1)
            name, _, times = key.decode().partition("*")
            assert name in KEYS, line
            value = unescape(value.removeprefix(b" ")) * int(times or 1)
            case[name] = case.get(name, b"") + value
        if case:
            yield case


def check(case: Case, completed: Completed[bytes]) -> None:
    name = case["name"].decode()
    if "signal" in case:
        assert completed.signal == int(case["signal"]), name
    else:
        assert completed.returncode == int(case["exit"]), name
    assert completed.stdout == case.get("stdout", b""), name
    assert completed.stderr == case.get("stderr", b""), name


def report(capsys: pytest.CaptureFixture[str], how: str, count: int) -> None:
    assert count == len(list(read_cases())) >= 60
    with capsys.disabled():
        print(f"\nconformance: {count} cases ({how})")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server: the private helper of this process."""
    monkeypatch.delenv("SOCKPROC_SOCKET")


@pytest.mark.parametrize("protocol", ["native", "classic"])
@pytest.mark.parametrize("transport", ["server", "tcp_server", "embedded"])
def test_all_cases_hold_for_run(
    transport: str,
    protocol: Literal["native", "classic"],
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Client(request.getfixturevalue(transport), protocol)
    assert (client.address is None) == (transport == "embedded")
    count = 0
    for case in read_cases():
        check(case, client.run(case["command"], case.get("stdin")))
        count += 1
    report(capsys, f"run, {protocol}, {transport}", count)


@pytest.mark.parametrize("transport", ["server", "embedded"])
def test_all_cases_hold_for_aio_run(
    transport: str,
    on_loop: OnLoop,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    request.getfixturevalue(transport)

    async def main() -> int:
        count = 0
        for case in read_cases():
            check(case, await aio.run(case["command"], case.get("stdin")))
            count += 1
        return count

    report(capsys, f"aio.run, {request.node.name}", on_loop(main))
