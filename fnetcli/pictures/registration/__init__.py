"""Registration of two pictures of different modality."""

from fnetcli.pictures.registration.estimate import Registration, register
from fnetcli.pictures.registration.planar import KINDS, Kind, View

__all__ = ["KINDS", "Kind", "Registration", "View", "register"]
