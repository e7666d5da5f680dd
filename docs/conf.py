"""How Sphinx builds the pages: `make docs`.

Sphinx, with MyST for Markdown and furo for the looks: of the generators that are still developed it is the
one that reads docstrings of a native module by importing it, fails on a reference that leads nowhere, and
needs no network.
"""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tools")]

import wse_client
import wse_server
from pages import docstrings, signatures

project = "WSE"
version = release = wse_server.__version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
nitpicky = True
nitpick_ignore_regex = [
    # What other packages define: an inventory of theirs would have to be fetched.
    (r"py:.*", r"(asyncio|collections|concurrent|os|pathlib|ssl|types|typing|websockets)\..*"),
    (r"py:.*", r"PathLike|Random"),
    # What a decorator is given it gives back.
    (r"py:.*", r"wse_server\.server\.F"),
    # What the client's machine is made of: `Session` hands it through, and nobody has to look into it.
    (r"py:.*", r"(wse_client\.(feeds|outbox)\.)?(Ask|Feed|KeyExchange|Options|Publication)"),
]

# As code forges make them, and as `make docs-check` follows them.
myst_heading_anchors = 6

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"WSE {release}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

PACKAGES = {"wse_server": wse_server, "wse_client": wse_client}
STUB = signatures.read(ROOT / "python/wse_server/_native.pyi")
SECTIONS = Config(napoleon_use_ivar=True, napoleon_use_rtype=False)


def shown_signature(
    app: Sphinx,
    what: str,
    name: str,
    found: object,
    options: object,
    arguments: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Takes the signatures of the native module from its stub, which has the types."""
    package, _, path = name.partition(".")
    return STUB.get(path) if package == "wse_server" else None


def shown_docstring(
    app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]
) -> None:
    """Reads a docstring, sections and all.

    Not by Napoleon as an extension: it takes what stands before a colon for the type of an attribute.
    """
    kind = "class" if what in {"attribute", "data", "property"} else what
    made = GoogleDocstring(docstrings.as_rst(lines), SECTIONS, app, kind, name, found, options)
    lines[:] = made.lines()


def without_builtins(app: Sphinx, document: nodes.document) -> None:
    """Takes `bytes` and its like for what they are, not for the attribute of some class with this name."""
    for node in list(document.findall(pending_xref)):
        if node["reftarget"] in dir(builtins):
            node.replace_self(node.children)


def public_name(
    app: Sphinx, environment: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolves the place where something is defined to the name under which it is imported, and back."""
    package, _, path = node.get("reftarget", "").partition(".")
    name = path.rpartition(".")[2]
    if package not in PACKAGES or name not in PACKAGES[package].__all__:
        return None
    home = getattr(getattr(PACKAGES[package], name), "__module__", package)
    for target in (f"{package}.{name}", f"{home}.{name}"):
        found = environment.get_domain("py").resolve_xref(
            environment, node["refdoc"], app.builder, "obj", target, node, content
        )
        if found is not None:
            return found
    return None


def setup(app: Sphinx) -> None:
    """Connects them, and lets an example be in a language that Pygments does not know."""
    app.add_lexer("haproxy", TextLexer)
    app.connect("autodoc-process-signature", shown_signature)
    app.connect("autodoc-process-docstring", shown_docstring)
    app.connect("doctree-read", without_builtins)
    app.connect("missing-reference", public_name)
