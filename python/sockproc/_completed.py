"""The result of a command that has ended."""

from __future__ import annotations

from types import GenericAlias

from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]
from ._native import returncode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AnyStr, Generic
else:
    # As `Generic[AnyStr]`, without importing typing, which takes longer than all the rest.
    AnyStr, Generic = str, {str: object}


class Completed(Generic[AnyStr]):
    """A command that has ended. It cannot be changed; it can be compared, hashed and pickled.

    Its hash leaves the command out, which may be a list.

    Attributes:
        cmd: the command as it was given to ``run``.
        status: the raw wait status, as ``os.waitpid`` returns it: exit code 1 is 256, SIGKILL is 9.
        stdout, stderr: all that it wrote; str in text mode, else bytes.

    >>> done = run("echo hello; exit 3")
    >>> done
    Completed(cmd='echo hello; exit 3', status=768, stdout=b'hello\\n', stderr=b'')
    >>> done.returncode, done.signal, done.ok
    (3, None, False)
    """

    __slots__ = ("cmd", "status", "stderr", "stdout")
    __match_args__ = ("cmd", "status", "stdout", "stderr")

    cmd: _types.Any
    status: int
    stdout: AnyStr
    stderr: AnyStr

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)

    def __init__(
        self, cmd: _types.Any, status: int, stdout: AnyStr, stderr: AnyStr
    ) -> None:
        _put_cmd(self, cmd)
        _put_status(self, status)
        _put_stdout(self, stdout)
        _put_stderr(self, stderr)

    @property
    def returncode(self) -> int:
        """The exit code, or the negative number of the signal that ended the command.

        >>> run("kill -9 $$").returncode
        -9
        """
        code = returncode(self.status)
        if code is None:
            raise ValueError(f"{self.status} is no wait status of a process that ended")
        return code

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended the command, or None if it exited.

        >>> run("kill -9 $$").signal
        9
        """
        return -self.returncode if self.returncode < 0 else None

    @property
    def ok(self) -> bool:
        """Whether the command exited with code 0.

        >>> run("true").ok
        True
        """
        return self.status == 0

    def check(self) -> Completed[AnyStr]:
        """Returns itself if the command exited with code 0.

        Raises:
            CalledProcessError: it did not.

        >>> run("echo hello").check().stdout
        b'hello\\n'
        """
        if self.status:
            from ._run_errors import CalledProcessError

            raise CalledProcessError(
                self.returncode, self.cmd, self.stdout, self.stderr
            )
        return self

    def _key(self) -> tuple[_types.Any, int, AnyStr, AnyStr]:
        return self.cmd, self.status, self.stdout, self.stderr

    def __repr__(self) -> str:
        return "Completed(cmd={!r}, status={!r}, stdout={!r}, stderr={!r})".format(
            *self._key()
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Completed):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.status, self.stdout, self.stderr))

    def __reduce__(self) -> tuple[_types.Any, ...]:
        return type(self), self._key()

    def __setattr__(self, name: str, value: object) -> _types.NoReturn:
        raise AttributeError(f"cannot assign to {name!r}: a Completed does not change")

    def __delattr__(self, name: str) -> _types.NoReturn:
        raise AttributeError(f"cannot delete {name!r}: a Completed does not change")


# What sets the slots, past `__setattr__`. `object.__setattr__` would look each one up, in every run.
_put_cmd, _put_status, _put_stdout, _put_stderr = (
    vars(Completed)[name].__set__ for name in Completed.__match_args__
)
