"""How Sphinx builds the documentation; ``make docs`` (``tools/site.py``) puts its sources together.

Nothing is fetched at build or by the pages: formulas become MathML, scripts and fonts are those of
the theme, and notebooks are shown as they are, never run.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from esiamfc_lib import __version__

project = "esiamfc"
author = "The esiamfc contributors"
release = __version__
html_title = f"esiamfc {release}"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
language = "en"
smartquotes = False  # it would turn two hyphens into a dash

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "site_parts",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # widgets have a picture beside them; their scripts would be fetched
nb_merge_streams = True
html_math_renderer = "mathml"
suppress_warnings = ["mystnb.unknown_mime_type"]  # widgets: their picture is shown instead

autodoc_default_options = {"members": True, "imported-members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
copybutton_exclude = ".linenos, .gp, .go"
