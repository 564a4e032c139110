"""Hooks of mkdocs: pages that stand elsewhere in the repository, links to them, code, the search.

Such pages are read on their own, beside what they describe, and on the site. Links between them and
docs/ are turned round; links to other files of the repository become plain text.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
PAGES = {  # on the site: in the repository
    "weights.md": "weights/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "releasing.md": "RELEASING.md",
    "security.md": "SECURITY.md",
}
SITE_OF = {source: page for page, source in PAGES.items()}
SHIM = re.compile(r'<script src="?https://unpkg\.com/iframe-worker/shim"?></script>')
OURS = "search_from_folder.js"
# Browsers break lines after the hyphens of an option, unless its class forbids it (tables.css).
# Blocks of code, which begin with <pre><span></span><code>, keep their lines.
SHORT_CODE = re.compile(r"(?<!</span>)<code>(?=[^<]{1,28}</code>)")
LONG_CODE = re.compile(r"(?<!</span><code>)(?<=<code>)[^<]{29,}(?=</code>)")
HYPHENATED = re.compile(r"(?<!\S)(?=\S*-)\S{1,28}(?!\S)")
CELL = re.compile(r"<td\b.*?</td>", re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand outside docs/."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - tests run without it

    for page, source in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at the pages of the site."""
    here = page.file.src_uri
    source = PurePosixPath(PAGES.get(here, f"docs/{here}")).parent

    def turned(found: re.Match[str]) -> str:
        words, target, place = found[1], found[2], found[3] or ""
        path = normpath(str(source / target))
        on_site = SITE_OF.get(path) or path.removeprefix("docs/")
        if on_site != path or path in SITE_OF:
            return f"[{words}]({relpath(on_site, str(PurePosixPath(here).parent))}{place})"
        if not (ROOT / path).exists():
            return found[0]  # mkdocs reports it
        return words

    return LINK.sub(turned, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Mark code, and its words, that fit into a line of a phone; in tables, mend `|`."""
    html = CELL.sub(lambda cell: cell[0].replace(r"\|", "|"), html)
    html = LONG_CODE.sub(
        lambda code: HYPHENATED.sub(r'<span class="short">\g<0></span>', code[0]).replace(
            "|", "|<wbr>"
        ),
        html,
    )
    return SHORT_CODE.sub('<code class="short">', html)


def on_post_build(config: Any, **_: Any) -> None:
    """Load our own script for searching from a folder, in place of one from the network."""
    site = Path(config["site_dir"])
    for page in site.rglob("*.html"):
        path = relpath(OURS, str(page.parent.relative_to(site).as_posix()))
        text = page.read_text(encoding="utf-8")
        page.write_text(SHIM.sub(f'<script src="{path}"></script>', text), encoding="utf-8")
