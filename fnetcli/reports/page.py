"""What all HTML pages have in common."""

from __future__ import annotations

import re
from typing import Any

import jinja2

# What no HTML file may hold: controls, halves of surrogate pairs (bytes of a file name that are no
# UTF-8), and the two characters that are none.
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
    """Return text, which may come from file names, without what a page cannot hold.

    Everything that the template prints comes through here, and is escaped afterwards.
    """
    return UNPRINTABLE.sub("\ufffd", value) if type(value) is str else value
