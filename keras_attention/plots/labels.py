"""Labels that every machine can draw.

Characters that no font at hand has are written as Python escapes, and `$` is
only a dollar sign, so any text can be a label.
"""

import functools

import numpy as np

# The first of these that is installed draws what DejaVu Sans, the font that
# comes with matplotlib, cannot.
CHINESE_FONTS = (
    "Noto Sans CJK SC",
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


def labels_of(shape, source_tokens, target_tokens):
    """Returns the labels of columns and rows as drawable str, or None."""
    target_length, source_length = shape
    return (
        _labels("source_tokens", source_tokens, source_length),
        _labels("target_tokens", target_tokens, target_length),
    )


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
    return [drawable(token) for token in tokens]


def drawable(text):
    """Writes as Python escapes what the fonts at hand cannot draw."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    text = str(text)
    if text == " ":
        return "␣"
    known = _known_characters()
    return "".join(
        letter
        if letter.isprintable() and ord(letter) in known
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def text_style():
    """Returns the keyword arguments of every text in a picture."""
    return {"fontfamily": list(_font_families()), "parse_math": False}


@functools.lru_cache(maxsize=1)
def _font_families():
    import_matplotlib()
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    chinese = [name for name in CHINESE_FONTS if name in installed]
    return ("DejaVu Sans", *chinese[:1])


@functools.lru_cache(maxsize=1)
def _known_characters():
    """The code points that the fonts of `_font_families` can draw."""
    families = _font_families()
    from matplotlib import font_manager

    paths = [font_manager.findfont(family) for family in families]
    fonts = [font_manager.get_font(path) for path in paths]
    return frozenset().union(*(font.get_charmap() for font in fonts))


def import_matplotlib():
    """Imports matplotlib, or says how to get it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib, which is not installed. Install it "
            "with `pip install keras_attention[plots]`."
        ) from error
    return matplotlib
