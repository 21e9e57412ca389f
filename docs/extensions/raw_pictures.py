"""Copies the pictures that a page shows by HTML tags into the site.

Sphinx copies those of Markdown. A README places some with `<img src=...>`.
"""

import re
import shutil

SOURCE = re.compile(r'<img[^>]*\ssrc="([^":]+)"')


def copy(app, page, template, context, doctree):
    for name in SOURCE.findall(context.get("body", "")):
        here = app.srcdir / page
        there = app.outdir / page
        source, target = here.parent / name, there.parent / name
        if source.is_file() and not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def setup(app):
    app.connect("html-page-context", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
