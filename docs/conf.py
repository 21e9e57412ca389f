"""The documentation site: what `make docs` builds.

The source folder of the site is the root of the repository, so that a page is
read from where it lies and its links hold on the site as they do in the
repository. `INCLUDED` says which files are pages.
"""

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER / "extensions")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras_attention  # noqa: E402

project = "keras_attention"
author = "the authors of keras_attention"
release = version = keras_attention.__version__
language = "en"

INCLUDED = [
    "README*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/RESULTS.md",
    "docs/**",
    "notebooks/*.ipynb",
    "saved_models/README.md",
    "saved_models/**/README.md",
]
include_patterns = INCLUDED
exclude_patterns = [
    ".*",
    "build",
    "dist",
    "docs/_build",
    "keras_attention",
    "saved_models/demo",
    "tests",
]
root_doc = "docs/index"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "myst_nb",
    # Those of docs/extensions, each of which says what it is for.
    "command_line",
    "docstrings",
    "front_page",
    "mathml",
    "public_names",
    "raw_pictures",
]

smartquotes_action = "D"  # dashes, but not quotation marks

html_theme = "furo"
html_title = f"keras_attention {release}"
html_logo = html_favicon = "logo.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
pygments_dark_style = "github-dark"  # the default underlines names, like links
# Formulas become MathML, which browsers draw by themselves: no page of the
# site asks the network for anything.
html_math_renderer = "mathml"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# NOTEBOOKS=off builds the site in seconds, its notebooks without outputs.
run_notebooks = os.environ.get("NOTEBOOKS", "on") != "off"
nb_execution_mode = "cache" if run_notebooks else "off"
nb_execution_cache_path = str(FOLDER / "_build" / "notebooks")
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"
nb_ipywidgets_js = {}

# Docstrings write names in single backticks.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    # What is in backticks may be any code: it is a link where it is a name.
    ("py:obj", ".*"),
    # Annotations of what is documented elsewhere, or is not public.
    ("py:class", ".*"),
]
pages_with_namesakes = ["docs/from_tfa", "docs/migrating"]
add_module_names = False
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 60
napoleon_numpy_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Call arguments", "params_style")]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
