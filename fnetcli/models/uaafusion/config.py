"""Shape and rules of a UAAFusion network; plain values, no torch.

Origins, here and in the modules beside this one: (P) the paper's abstract, (R) the authors'
released program, (O) a choice of this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Attention = Literal["rms", "raw"]
PathRule = Literal["midpoint", "right"]
Scores = Literal["softmax", "sigmoid"]
Segmentation = Literal["small", "mobilenet"]


@dataclass(frozen=True)
class UAAFusionConfig:
    """Shape of a UAAFusion network with its segmentation network.

    The defaults follow the paper's idea; where the released program departs from it,
    `PUBLISHED_RULES` of `layouts` names what its weights need instead.
    """

    stages: int = 5  # K: proximal steps, weights not shared (R)
    channels: int = 32  # of every map between the convolutions; each sensor starts with half (R)
    classes: int = 15  # C, with class 0 = unlabelled (R: FMB)
    data_step: bool = True  # take the gradient step on the data term (P; R computes and drops it)
    attention: Attention = "rms"  # scale of the path attribution: root mean square 1 (O), raw (R)
    smooth_attention: bool = False  # take the alternation of S's gradients out of it (O)
    path_rule: PathRule = "midpoint"  # points on the path from black: midpoints (O), right ends (R)
    path_steps: int = 5  # T: points on that path (R)
    scores: Scores = "softmax"  # what S's outputs pass through (O: softmax, R: sigmoid)
    segmentation: Segmentation = "mobilenet"  # S: MobileNetV2 with a DeepLabV3+ head (R), small (O)
    class_names: tuple[str, ...] = ()  # one a class, from the training data; empty: not known

    def __post_init__(self) -> None:
        """Raise ValueError where a field cannot make a network; lists become tuples."""
        for name, least in (("stages", 1), ("channels", 2), ("classes", 2), ("path_steps", 1)):
            value = getattr(self, name)
            if type(value) is not int:
                raise ValueError(f"{name} must be a whole number, not {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if self.channels % 2:
            raise ValueError(f"channels must be even, not {self.channels}: half for each sensor")
        for name in ("data_step", "smooth_attention"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise ValueError(f"{name} must be true or false, not {value!r}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = " or ".join(choices)
                raise ValueError(f"{name} must be {known}, not {getattr(self, name)!r}")
        self._check_class_names()

    def _check_class_names(self) -> None:
        names = self.class_names
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"class_names must be a list of words, not {names!r}")
        object.__setattr__(self, "class_names", tuple(names))
        if names and len(names) != self.classes:
            raise ValueError(f"class_names are {len(names)} for {self.classes} classes")
        if len(set(names)) < len(names):
            raise ValueError("class_names must differ from each other")

    @property
    def reach(self) -> None:
        """Return None: the segmentation network sees the whole image."""

    @property
    def margin(self) -> int:
        """Pixels from which a fused pixel depends through the convolutions, not through S: 44.

        Two for each unit and one for each gate on the longest way: the first unit, then the second,
        third and fifth, the gates and the sixth of each stage, then three units of the last.
        """
        return 8 + 9 * (self.stages - 1)

    @property
    def guide_pixels(self) -> int:
        """How many pixels S's gradients are taken of at inference; larger images are reduced.

        A pass of the small S takes about a tenth of that of MobileNet.
        """
        return 640 * 480 if self.segmentation == "small" else 320 * 240

    @property
    def map_names(self) -> tuple[str, ...]:
        """What the network shows beside the fused image."""
        stages = [f"stage_{k}" for k in range(1, self.stages + 1)]
        attention = [f"attention_{k}" for k in range(1, self.stages)]
        return ("weight_first", "weight_second", *stages, *attention, "segmentation")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The memory of the last stage."""
        return ("memory_long", "memory_short")

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the fusion network for each pixel of a pair: 822,672 by default.

        Without S, which runs 2 path_steps (1 + classes present) + 2 stages times or so.
        """
        c, half, kernel = self.channels, self.channels // 2, 9
        start = 2 * (half + half * half)
        step = (c + c * c) + (3 * c * c + c * c) + 2 * c * c + (c * half + half)
        memory = (3 * c * c + c * c) + 8 * c * c + 2 * c * c
        first_memory = memory - 5 * c * c  # no earlier state: neither forget gate nor hidden maps
        stages = self.stages * step + max(self.stages - 2, 0) * memory
        return kernel * (start + stages + (first_memory if self.stages > 1 else 0))


_CHOICES = {
    "attention": get_args(Attention),
    "path_rule": get_args(PathRule),
    "scores": get_args(Scores),
    "segmentation": get_args(Segmentation),
}
