"""The types that annotations name. :func:`typing.get_type_hints` finds them; they are not loaded before that."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import _types as types  # pyright: ignore[reportPrivateUsage]
else:

    class _Types:
        """A module that is imported on first use."""

        def __getattr__(self, name: str) -> object:
            return getattr(import_module("._types", __package__), name)

    types = _Types()

__all__ = ["types"]
