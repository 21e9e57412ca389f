"""Leads from the root of the site, where no page is, to its front page."""

PAGE = """\
<!DOCTYPE html>
<meta charset="utf-8">
<title>keras_attention</title>
<meta http-equiv="refresh" content="0; url=docs/index.html">
<a href="docs/index.html">keras_attention</a>
"""


def write(app, error):
    if error is None and app.builder.name == "html":
        (app.outdir / "index.html").write_text(PAGE, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
