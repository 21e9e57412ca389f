"""Labels that every machine can draw.

Control characters, and characters that no font at hand has, are written as
Python escapes, and `$` is only a dollar sign, so any text can be a label. What
is too long ends in an ellipsis.
"""

import contextlib
import functools
import itertools
import textwrap
import types
import unicodedata
import warnings
from typing import Any

import numpy as np

ELLIPSIS = "…"
LONGEST_LABEL = 20  # columns; a wide character, such as a Chinese one, takes 2
TITLE_LINES = 3

# The first of these that is installed draws what DejaVu Sans, the font that
# comes with matplotlib, cannot.
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",  # what matplotlib finds in Debian's fonts-noto-cjk
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "AR PL UMing CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)


def labels_of(
    shape: tuple, source_tokens: Any, target_tokens: Any
) -> tuple[list[str] | None, list[str] | None]:
    """Returns the labels of columns and rows as drawable str, or None."""
    target_length, source_length = shape
    labels = (
        _labels("source_tokens", source_tokens, source_length),
        _labels("target_tokens", target_tokens, target_length),
    )
    _warn_without_font(source_tokens, target_tokens)
    return labels


def _labels(name, tokens, length):
    if tokens is None:
        return None
    if not isinstance(tokens, str):
        tokens = np.asarray(tokens, dtype=object).ravel()
    if len(tokens) != length:
        raise ValueError(
            f"`{name}` must have one label for each of the {length} positions "
            f"of `weights`. Received: {len(tokens)} labels. Cut the padding "
            "off both, or label it, too."
        )
    return [_shortened(_drawable_letters(token)) for token in tokens]


def _warn_without_font(*sides):
    """Says how to get the font that Chinese, Japanese and Korean need."""
    known = _known_characters()
    given = [side for side in sides if side is not None]
    text = "".join(map(_as_text, itertools.chain(*given)))
    for letter in text:
        is_wide = unicodedata.east_asian_width(letter) in "WF"
        if is_wide and letter.isalpha() and ord(letter) not in known:
            warnings.warn(
                f"No installed font has {letter!r}: it is drawn as an escape. "
                "Install a font such as Noto Sans CJK (Debian: apt install "
                "fonts-noto-cjk).",
                stacklevel=4,
            )
            return


def title_of(text: str, columns: float) -> str:
    """Returns a drawable title, at most three lines of about `columns`."""
    letters = _drawable_letters(text)
    if letters == ["␣"]:
        return "␣"
    text = "".join(letters)
    wide = num_columns(text) / max(len(text), 1)
    return textwrap.fill(
        text,
        max(int(columns / max(wide, 1)), 8),
        max_lines=TITLE_LINES,
        placeholder=ELLIPSIS,
        replace_whitespace=False,
        break_on_hyphens=False,
    )


def num_columns(text: str) -> int:
    """Returns about how wide a text is, in letters of the Latin alphabet."""
    return sum(map(_num_columns_of_letter, text))


def _num_columns_of_letter(letter):
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _shortened(letters):
    text = "".join(letters)
    if num_columns(text) <= LONGEST_LABEL:
        return text
    short = ""
    for letter in letters:
        if num_columns(short + letter) >= LONGEST_LABEL:
            return short + ELLIPSIS
        short += letter


def _drawable_letters(text):
    """Returns the letters, as escapes where the fonts at hand lack them."""
    text = _as_text(text)
    if text == " ":
        return ["␣"]
    known = _known_characters()
    return [
        letter
        if letter.isprintable() and ord(letter) in known
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    ]


def _as_text(token):
    if isinstance(token, bytes):
        return token.decode("utf-8", errors="replace")
    return str(token)


def text_style() -> dict[str, Any]:
    """Returns the keyword arguments of every text in a picture."""
    return {"fontfamily": list(_font_families()), "parse_math": False}


@functools.lru_cache(maxsize=1)
def _font_families():
    return ("DejaVu Sans", *(_chinese_fonts() or _new_chinese_fonts())[:1])


def _chinese_fonts():
    import_matplotlib()
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [name for name in CHINESE_FONTS if name in installed]


def _new_chinese_fonts():
    """Looks among the fonts that came after matplotlib wrote its list."""
    from matplotlib import font_manager

    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - known:
        with contextlib.suppress(Exception):  # not a font that it can read
            font_manager.fontManager.addfont(path)
    return _chinese_fonts()


@functools.lru_cache(maxsize=1)
def _known_characters():
    """The code points that the fonts of `_font_families` can draw."""
    families = _font_families()
    from matplotlib import font_manager

    paths = [font_manager.findfont(family) for family in families]
    fonts = [font_manager.get_font(path) for path in paths]
    return frozenset().union(*(font.get_charmap() for font in fonts))


def import_matplotlib() -> types.ModuleType:
    """Imports matplotlib, or says how to get it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib, which is not installed. Install it "
            "with `pip install matplotlib`."
        ) from error
    return matplotlib
