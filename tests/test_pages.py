"""What `make docs` does beside Sphinx: the pages in one place, docstrings and signatures made ready."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import wse_client
import wse_server
from pages import docstrings, signatures, stage


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository with three pages under docs/ and two outside of it."""
    for path, text in {
        "docs/index.md": "## Learn\n\n[One](tutorial/one.md), [law](../LAW.md)\n\n## Do\n\n[Two](two.md)\n",
        "docs/tutorial/one.md": "[law](../../LAW.md#first) [here](#x) [far](https://far.org/) [up](../)\n",
        "docs/two.md": "```text\n[not](../LAW.md)\n```\n[one](tutorial/one.md)\n",
        "LAW.md": "# Law\n\n[more](spec/more.md) [two](docs/two.md)\n",
        "spec/more.md": "[code](code.py)\n",
        "spec/code.py": "pass\n",
    }.items():
        (tmp_path / "from" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / path).write_text(text)
    return tmp_path / "from"


def test_what_the_pages_lead_to_is_brought_together_and_nothing_else(small: Path, tmp_path: Path) -> None:
    (small / "OTHER.md").write_text("nobody links to it\n")
    written = stage.stage(small, tmp_path / "to")
    pages = {"index.md", "tutorial/one.md", "two.md", "LAW.md", "spec/more.md", "spec/code.py"}
    assert set(written) == pages
    there = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*.*")}
    assert there == pages


def test_links_lead_to_the_new_places(small: Path, tmp_path: Path) -> None:
    stage.stage(small, tmp_path)
    one = (tmp_path / "tutorial/one.md").read_text()
    assert one == "[law](../LAW.md#first) [here](#x) [far](https://far.org/) up\n"
    assert (tmp_path / "two.md").read_text() == "```text\n[not](../LAW.md)\n```\n[one](tutorial/one.md)\n"
    assert "[more](spec/more.md) [two](two.md)" in (tmp_path / "LAW.md").read_text()


def test_the_menu_is_the_front_page_in_its_order(small: Path, tmp_path: Path) -> None:
    stage.stage(small, tmp_path)
    menus = re.findall(r":caption: (\w+)\n\n(.*?)\n```", (tmp_path / "index.md").read_text(), re.DOTALL)
    assert menus == [("Learn", "tutorial/one\nLAW"), ("Do", "two")]
    # What is in no menu says so, or Sphinx complains.
    assert (tmp_path / "spec/more.md").read_text().startswith("---\norphan: true\n---\n")


def test_every_page_is_on_the_front_page_or_in_the_list_of_runbooks(repository: Path) -> None:
    listed = {page for _, pages in stage.parts(repository) for page in pages}
    assert "docs/runbooks/index.md" in listed
    listed |= {page for page in stage.targets(repository, "docs/runbooks/index.md") if "/runbooks/" in page}
    found = {path.relative_to(repository).as_posix() for path in (repository / "docs").rglob("*.md")}
    assert found - listed == {stage.INDEX}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Sends `t` and `p`.", "Sends ``t`` and ``p``."),
        (
            "Start with [`Client`][wse_client.Client] or `x`.",
            "Start with :py:obj:`Client <wse_client.Client>` or ``x``.",
        ),
        ("Already ``code`` and `more`.", "Already ``code`` and ``more``."),
        ("It unpacks: `epoch,\n    offset = position`.", "It unpacks: ``epoch, offset = position``."),
        ('It returns `{"t":\n1}` too.', 'It returns ``{"t": 1}`` too.'),
        ("`a`.\n    wait: As for `b`.", "``a``.\n    wait: As for ``b``."),
        ("It ends:\n- soon\n  or late\n- never", "It ends:\n\n- soon\n  or late\n- never"),
        ("As so::\n\n    `not` code\n\n`code`", "As so::\n\n    `not` code\n\n``code``"),
    ],
)
def test_docstrings_become_what_sphinx_reads(written: str, read: str) -> None:
    assert "\n".join(docstrings.as_rst(written.split("\n"))) == read


def test_signatures_have_the_types_of_the_stub(repository: Path) -> None:
    found = signatures.read(repository / "python/wse_server/_native.pyi")
    assert found["RustWSEServer.broadcast_all"] == ("(message: str | bytes)", "None")
    assert found["Position"] == ("(epoch: str, offset: int, copies: int | None=None)", None)
    assert found["rust_jwt_decode"][1] == "dict[str, Any] | None"
    # A property has none, and the options are a page of their own.
    assert not {"RustWSEServer", "RustWSEServer.port", "Position.epoch"} & found.keys()


@pytest.mark.parametrize("module", [wse_server, wse_client], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module: ModuleType, repository: Path) -> None:
    text = "".join(path.read_text() for path in (repository / "docs/reference").glob("*.md"))
    described = set(re.findall(r"(?m)^\.\. auto\w+:: (\S+?)(?:\(\))?$", text))
    for name in set(module.__all__) - {"__version__"}:
        home = getattr(getattr(module, name), "__module__", "")
        assert f"{module.__name__}.{name}" in described or home in described, name
