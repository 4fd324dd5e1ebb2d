"""How the site is built: `make docs`, without a network and without a warning."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parents[1])]

project = "gridmill"
author = "the gridmill developers"
project_copyright = "the gridmill developers"
version = release = version_of("gridmill")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "generated",
    "command_pages",
    "external_links",
]
exclude_patterns = [
    "_build",
    "_ext",
    "**/.ipynb_checkpoints",
    # Parts of other pages.
    "reference/settings_table.md",
    "reference/benchmarks_table.md",
]
suppress_warnings = ["mystnb.unknown_mime_type"]

# Pages are Markdown. A heading is a target, so that links to sections are checked.
myst_enable_extensions = ["colon_fence", "deflist", "attrs_block", "attrs_inline"]
myst_heading_anchors = 3

# Options begin with two dashes, not with one long one.
smartquotes = False

# Notebooks are kept without outputs and run when the site is built, once until they change.
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"

# The Python reference is the docstrings; `name` in them is a link where there is such a name.
default_role = "py:obj"
autosummary_generate = True
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
python_maximum_signature_line_length = 88

templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_title = "gridmill"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "show_prev_next": True,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Pages without pages below them have no section to navigate.
html_sidebars = {"index": [], "gallery/index": [], "compared": []}
