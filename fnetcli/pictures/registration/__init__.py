"""Registration of two pictures of different modality."""

from fnetcli.pictures.registration.estimate import Registration, register, register_frames
from fnetcli.pictures.registration.views import View

__all__ = ["Registration", "View", "register", "register_frames"]
