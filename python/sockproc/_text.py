"""Text mode, as in subprocess: str in, str out, and every line ends with a newline."""

from __future__ import annotations

import codecs
import io


class TextMode:
    """How bytes become str and str becomes bytes."""

    __slots__ = ("encoding", "errors")

    def __init__(self, encoding: str, errors: str) -> None:
        self.encoding = encoding
        self.errors = errors

    def encode(self, text: str) -> bytes:
        """The bytes of ``text``."""
        return text.encode(self.encoding, self.errors)

    def decode(self, data: bytes) -> str:
        """The text of ``data``, with ``\\r\\n`` and ``\\r`` as newlines."""
        text = data.decode(self.encoding, self.errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")


def text_mode(
    text: bool | None, encoding: str | None, errors: str | None
) -> TextMode | None:
    """The text mode that these arguments of ``run`` ask for; None if it is bytes.

    Raises:
        LookupError: there is no such encoding, or no such handler of errors.
    """
    if not (text or encoding or errors):
        return None
    mode = TextMode(encoding or _locale_encoding(), errors or "strict")
    # Otherwise empty output would hide a wrong name.
    codecs.lookup(mode.encoding)
    codecs.lookup_error(mode.errors)
    return mode


def _locale_encoding() -> str:
    # From here, the warning of `text_encoding` points at the caller of `run` (PEP 597).
    name = io.text_encoding(None, 4)
    if name != "locale":
        return name
    import locale

    return locale.getencoding()
