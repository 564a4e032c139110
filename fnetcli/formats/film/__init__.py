"""Films: frames and sound in and out of containers, by PyAV (an extra, `fnetcli[video]`).

`library` imports it, `pixels` turns frames into arrays and back, `reader` decodes a film frame by
frame, `codecs` lists what films can be written as, `writer` encodes pieces and joins them.
"""

from __future__ import annotations

from fnetcli.formats.film.codecs import CONTAINERS, QUALITIES, Coding, choose_coding
from fnetcli.formats.film.pyav import FILM_SUFFIXES, is_film
from fnetcli.formats.film.reader import FilmFrame, FilmHeader, probe_film, read_film

__all__ = [
    "CONTAINERS",
    "FILM_SUFFIXES",
    "QUALITIES",
    "Coding",
    "FilmFrame",
    "FilmHeader",
    "choose_coding",
    "is_film",
    "probe_film",
    "read_film",
]
