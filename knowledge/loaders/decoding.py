"""Bytes to text, without guessing."""

import codecs

from knowledge.loaders.content import UnreadableContent

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(data: bytes) -> str:
    """Decode UTF-8, or what a byte order mark says.

    Raises:
        UnreadableContent: the bytes are not text in that encoding. Other encodings are not
            guessed, since a wrong guess puts wrong words into the index without anyone noticing.
    """
    encoding = detect_byte_order_mark(data) or "utf-8"
    if encoding == "utf-8" and b"\x00" in data:
        raise UnreadableContent("holds binary data, not text")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise UnreadableContent(f"is not valid {encoding.upper()}: {error.reason}") from error
        raise UnreadableContent(
            f"is not UTF-8 (byte 0x{data[error.start]:02X} at offset {error.start}); convert it, "
            "for instance with `iconv -f ISO-8859-1 -t UTF-8`"
        ) from error


def detect_byte_order_mark(data: bytes) -> str | None:
    """Return the name of the encoding that a byte order mark announces, or None."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    return None
