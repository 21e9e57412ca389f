"""How pieces of bytes are written: as "<0x0A>", or in letters for bytes.

GPT-2 writes each byte as a letter that can be seen: itself where it is one in
Latin-1, and else the next one from U+0100 on, so a space is "Ġ".
"""

import re

VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_OTHERS = [byte for byte in range(256) if byte not in VISIBLE]
LETTERS = "".join(
    chr(byte if byte in VISIBLE else 256 + _OTHERS.index(byte))
    for byte in range(256)
)
_BYTES = {letter: byte for byte, letter in enumerate(LETTERS)}


def bytes_of(piece: str) -> bytes:
    """Returns the bytes of a piece that is written in letters for bytes.

    Raises:
        ValueError: if it holds another letter.
    """
    strange = set(piece) - set(LETTERS)
    if strange:
        raise ValueError(
            "`pieces` of bytes must be made of the 256 letters of GPT-2. "
            f"Received: piece {piece!r}."
        )
    return bytes(_BYTES[letter] for letter in piece)


def byte_piece(byte: int) -> str:
    """Returns the name of the piece of one byte, such as "<0x0A>"."""
    return f"<0x{byte:02X}>"


def byte_of(piece: str) -> int | None:
    """Returns the byte of such a name, or None."""
    match = re.fullmatch("<0x([0-9A-F]{2})>", piece)
    return None if match is None else int(match[1], 16)
