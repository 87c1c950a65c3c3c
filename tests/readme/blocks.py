"""Runs the fenced blocks of Markdown files, each in the way of its language, from top to bottom.

The blocks share one environment, as a reader's terminal would, with what they export: a virtual
environment for pip, a directory that stands for /tmp, and the built `sockproc` on the PATH. Blocks that are not shell
find no server: what they run needs none, or they start it. A block without a language, or with one that nothing
here can run, fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 300
FENCE = re.compile(r"^```(.*)$")


class Block(NamedTuple):
    line: int
    language: str
    text: str


def blocks(document: Path) -> Iterator[Block]:
    begin, language, lines = 0, "", []
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and not begin:
            begin, language, lines = number, fence[1].strip(), []
        elif fence:
            yield Block(begin, language, "\n".join(lines) + "\n")
            begin = 0
        else:
            lines.append(line)
    if begin:
        yield Block(begin, "", "")


class Reader:
    """A reader who does what the document says, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = os.environ | {
            "TMPDIR": str(directory),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        venv = directory / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        binary = Path(os.environ["SOCKPROC_BIN"]).parent
        self.env["PATH"] = os.pathsep.join(
            [str(venv / "bin"), str(binary), os.environ["PATH"]]
        )
        # As with a reader: the binary is the one on the PATH.
        for name in ("SOCKPROC_SOCKET", "SOCKPROC_BIN"):
            self.env.pop(name, None)

    def run(self, argv: list[str], **env: str) -> None:
        subprocess.run(
            argv,
            cwd=ROOT,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=LIMIT_SECONDS,
        )

    def here(self, text: str) -> str:
        """`text` with this reader's directory for /tmp: another copy of this test may run."""
        return text.replace("/tmp/", f"{self.directory}/")

    def file(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(self.here(text))
        return str(path)


def sh(reader: Reader, text: str) -> None:
    exported = reader.directory / "exported"
    reader.run(
        ["bash", "-euo", "pipefail", "-c", f"{reader.here(text)}\nenv -0 >'{exported}'"]
    )
    variables = [
        line.split("=", 1) for line in exported.read_text().split("\0") if line
    ]
    reader.env = dict(variables)


def rust(reader: Reader, text: str) -> None:
    """A Rust block is an example of the crate, to the letter."""
    examples = [
        path
        for path in (ROOT / "sockproc-core/examples").glob("*.rs")
        if path.read_text().endswith(text)
    ]
    if len(examples) != 1:
        raise LookupError(
            f"the block is the end of {len(examples)} examples, not of one"
        )
    reader.run(
        [
            "cargo",
            "run",
            "--quiet",
            "-p",
            "sockproc-core",
            "--example",
            examples[0].stem,
        ]
    )


def python(reader: Reader, text: str) -> None:
    reader.run(["python", reader.file("block.py", text)])


def lua(reader: Reader, text: str) -> None:
    reader.run(["lua5.4", reader.file("block.lua", text)])


def nginx(reader: Reader, text: str) -> None:
    """An nginx block is the example to the letter, which a suite of its own runs."""
    if text not in (ROOT / "lua/examples/nginx.conf").read_text():
        raise LookupError("the block is no part of lua/examples/nginx.conf")
    # nginx' workers, who are not us, cannot enter this reader's directory.
    reader.run(["tests/openresty/run", "documents"], TMPDIR=tempfile.gettempdir())


RUNNERS: dict[str, Callable[[Reader, str], None]] = {
    "sh": sh,
    "rust": rust,
    "python": python,
    "lua": lua,
    "nginx": nginx,
}


def main(documents: list[str]) -> int:
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="sockproc-readme-") as directory:
        reader = Reader(Path(directory))
        for document, block in [
            (name, block) for name in documents for block in blocks(ROOT / name)
        ]:
            print(
                f"-- {document}:{block.line} ({block.language or 'no language'})",
                flush=True,
            )
            try:
                RUNNERS[block.language](reader, block.text)
                passed += 1
            except (
                KeyError,
                LookupError,
                OSError,
                subprocess.SubprocessError,
            ) as error:
                print(
                    f"{document}:{block.line}: {type(error).__name__}: {error}",
                    flush=True,
                )
                failed += 1
    print(f"readme: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
