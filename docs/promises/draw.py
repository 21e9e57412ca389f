"""Draws the card of what is promised: `python docs/promises/draw.py`.

It writes promises.svg and promises.zh.svg beside this file. Each promise names
the test that holds it; `tests/test_readme.py` checks that the tests exist.
"""

import html
import pathlib

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT, GAP, COLUMNS = 350, 132, 12, 3
FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', sans-serif"

# (the test that holds it, {language: (title, line, line)})
PROMISES = [
    (
        "tests/functional/test_dense_and_blockwise.py",
        {
            "en": (
                "One answer",
                "dense or by blocks, eager, graph or XLA, step by",
                "step or at once: the same numbers",
            ),
            "zh": (
                "同一个答案",
                "稠密或分块，即时、计算图或 XLA，",
                "逐步或整段：数值相同",
            ),
        },
    ),
    (
        "tests/functional/test_empty_rows.py",
        {
            "en": (
                "Masks mean one thing",
                "True = may attend. Nothing to attend to: zero",
                "weights, zero output, zero gradient",
            ),
            "zh": (
                "掩码只有一个含义",
                "True = 可以关注。无可关注时：",
                "权重、输出、梯度皆为零",
            ),
        },
    ),
    (
        "tests/test_nothing_quadratic.py",
        {
            "en": (
                "Nothing quadratic",
                "no score matrix, forward or backward, that",
                "nobody asked to see",
            ),
            "zh": (
                "没有平方级内存",
                "前向与反向都不构造没有人要看的",
                "分数矩阵",
            ),
        },
    ),
    (
        "tests/export/test_saved_model.py",
        {
            "en": (
                "What trains, serves",
                "training, generate and the SavedModel decode",
                "with the same code",
            ),
            "zh": (
                "所训练的，即所部署的",
                "训练、generate 与 SavedModel",
                "用同一份解码代码",
            ),
        },
    ),
    (
        "tests/test_crashes.py",
        {
            "en": (
                "Old or new, never half",
                "a crash at any moment, of the process or of the",
                "power, leaves files whole; training goes on",
            ),
            "zh": (
                "或旧或新，绝无残缺",
                "进程或电源在任何时刻中断，文件都完整；",
                "训练可逐位一致地续上",
            ),
        },
    ),
    (
        "tests/models/test_foreign_folders.py",
        {
            "en": (
                "Strangers' folders run no code",
                "a model folder from anybody loads or is refused",
                "with one clear error",
            ),
            "zh": (
                "陌生人的文件夹不会执行代码",
                "任何人给的模型文件夹，要么正常加载，",
                "要么以一条清楚的错误被拒绝",
            ),
        },
    ),
]


def card(index, test, lines):
    """Returns the SVG of one promise."""
    x = GAP + index % COLUMNS * (WIDTH + GAP)
    y = GAP + index // COLUMNS * (HEIGHT + GAP)
    title, *body = map(html.escape, lines)
    return f"""\
<g transform="translate({x} {y})">
<rect width="{WIDTH}" height="{HEIGHT}" rx="10"
 fill="#f6f8fa" stroke="#c9d1d9"/>
<rect width="6" height="{HEIGHT}" rx="3" fill="#2f81b7"/>
<text x="22" y="34" font-size="18" font-weight="600"
 fill="#1f2328">{title}</text>
<text x="22" y="62" font-size="13" fill="#424a53">{body[0]}</text>
<text x="22" y="82" font-size="13" fill="#424a53">{body[1]}</text>
<text x="22" y="114" font-size="11" fill="#6e7781"
 font-family="ui-monospace, monospace">{html.escape(test)}</text>
</g>
"""


def picture(language):
    """Returns the SVG of all promises in a language."""
    rows = -(-len(PROMISES) // COLUMNS)
    width = COLUMNS * (WIDTH + GAP) + GAP
    height = rows * (HEIGHT + GAP) + GAP
    cards = "".join(
        card(index, test, texts[language])
        for index, (test, texts) in enumerate(PROMISES)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{FONT}" role="img">\n{cards}</svg>\n'
    )


if __name__ == "__main__":
    for language, name in (("en", "promises.svg"), ("zh", "promises.zh.svg")):
        (HERE / name).write_text(picture(language), encoding="utf-8")
