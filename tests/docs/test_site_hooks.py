"""The hooks of the site: links, code and tables, as functions of a page's text."""

from __future__ import annotations

import runpy
from types import SimpleNamespace
from typing import Any

import pytest

from tests.docs.pages import DOCS
from tests.paths import ROOT

HOOKS: dict[str, Any] = runpy.run_path(str(DOCS / "site_hooks.py"))


def turned(page: str, text: str) -> str:
    """Return what stands on a page of the site in place of `text`."""
    return str(HOOKS["on_page_markdown"](text, SimpleNamespace(file=SimpleNamespace(src_uri=page))))


@pytest.mark.parametrize(
    ("page", "link", "wanted"),
    [
        ("medical.md", "[a](../weights/README.md)", "[a](weights.md)"),
        ("tutorials/ct-and-mri.md", "[a](../../weights/README.md#x)", "[a](../weights.md#x)"),
        ("tutorials/ct-and-mri.md", "[a](../medical.md)", "[a](../medical.md)"),
        ("weights.md", "[a](../docs/models.md#x)", "[a](models.md#x)"),
        ("weights.md", "[a](../CHANGELOG.md)", "[a](changelog.md)"),
        ("contributing.md", "[a](docs/style.md)", "[a](style.md)"),
        ("contributing.md", "![a](docs/example.png)", "![a](example.png)"),
        ("medical.md", "[the *licence*](../LICENSE)", "the *licence*"),  # has no page
        ("medical.md", "[a](missing.md)", "[a](missing.md)"),  # mkdocs reports it
        ("medical.md", "[a](../missing.md)", "[a](../missing.md)"),
        ("medical.md", "[a](https://x.org/LICENSE)", "[a](https://x.org/LICENSE)"),
        ("medical.md", "[a](#below)", "[a](#below)"),
    ],
)
def test_links_point_at_pages_of_the_site(page: str, link: str, wanted: str) -> None:
    assert turned(page, f"See {link}, {link}.") == f"See {wanted}, {wanted}."


def test_pages_from_elsewhere_are_there() -> None:
    for page, source in HOOKS["PAGES"].items():
        assert (ROOT / source).is_file()
        assert not (DOCS / page).exists()


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("<code>--maps none</code>", '<code class="short">--maps none</code>'),
        (f"<code>{'a' * 28}</code>", f'<code class="short">{"a" * 28}</code>'),
        (f"<code>{'a' * 29}</code>", f"<code>{'a' * 29}</code>"),
        (  # of longer code each word that has a hyphen
            "<code>fnet fuse --existing overwrite pairs</code>",
            '<code>fnet fuse <span class="short">--existing</span> overwrite pairs</code>',
        ),
        (
            "<code>--registration-scope=pair|folder|each</code>",
            "<code>--registration-scope=pair|<wbr>folder|<wbr>each</code>",
        ),
        (  # blocks keep their lines
            "<pre><span></span><code>fnet fuse --existing overwrite --maps none\n</code></pre>",
            "<pre><span></span><code>fnet fuse --existing overwrite --maps none\n</code></pre>",
        ),
        (
            r"<td><code>a\|b</code> or \|</td><p>\|</p>",
            r'<td><code class="short">a|b</code> or |</td><p>\|</p>',
        ),
    ],
)
def test_code_is_marked_where_lines_may_not_break(html: str, wanted: str) -> None:
    assert HOOKS["on_page_content"](html) == wanted


def test_search_needs_no_network(tmp_path: Any) -> None:
    """The theme's script from elsewhere is replaced by our own, from every depth."""
    shim = '<script src="https://unpkg.com/iframe-worker/shim"></script>'
    (tmp_path / "deep").mkdir()
    for page in ("index.html", "deep/page.html"):
        (tmp_path / page).write_text(f"<head>{shim}</head>")
    HOOKS["on_post_build"]({"site_dir": str(tmp_path)})
    assert (DOCS / HOOKS["OURS"]).is_file()
    for page, path in (("index.html", ""), ("deep/page.html", "../")):
        wanted = f'<head><script src="{path}search_from_folder.js"></script></head>'
        assert (tmp_path / page).read_text() == wanted
