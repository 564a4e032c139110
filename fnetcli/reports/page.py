"""Shared by all HTML pages: templates, and the escaping of foreign text."""

from __future__ import annotations

import re
from typing import Any

import jinja2

# Characters that no HTML file may hold: controls, surrogates (bytes of a file name that are not
# UTF-8), and the two noncharacters.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def template(name: str) -> jinja2.Template:
    """Return a template of this package; everything that it prints is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fnetcli.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def printable(value: Any) -> Any:
    """Return text, possibly from file names, without characters that a page cannot hold.

    Everything that the template prints is passed through this, and escaped afterwards.
    """
    return UNPRINTABLE.sub("\ufffd", value) if type(value) is str else value
