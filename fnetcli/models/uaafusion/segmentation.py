"""The segmentation network S: what UAAFusion asks which source a decision rests on.

Two networks behind one face: image (N, 1, H, W), luminance in [0, 1] -> logits (N, C, H, W). Any
H, W >= 1. Read from top to bottom: each class uses only what stands above it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fnetcli.models.uaafusion.config import Segmentation

EPSILON = 1e-5  # beside a variance, as torch has it


class BatchNorm(nn.Module):
    """Batch normalisation of (N, C, H, W), without the counter of batches that torch's keeps.

    Only a cumulative average would read that counter, and weights files hold real numbers only.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch in training mode, by the running statistics otherwise."""
        is_training = self.training and x.shape[0] * x.shape[2] * x.shape[3] > 1
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            is_training,
            eps=EPSILON,
        )

    def fold(self, kernels: Tensor) -> tuple[Tensor, Tensor]:
        """Return kernels and bias of a convolution that normalises too, by running statistics."""
        scale = self.weight * torch.rsqrt(self.running_var + EPSILON)
        return kernels * scale[:, None, None, None], self.bias - self.running_mean * scale


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Bring x to the height and width of `like`: bilinear, corners on corners."""
    size = [like.shape[-2], like.shape[-1]]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


# --- MobileNetV2 with the head of DeepLabV3+ (R) --------------------------------------------------

# Expansion, channels, repeats, stride: Sandler et al., "MobileNetV2", CVPR 2018, table 2, width 1.
ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LOW = 3  # the block whose 24 maps, at 1/4 of the image, the head adds
DILATED = 14  # from this block on, dilation takes the place of the last stride: 1/16, not 1/32


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each map by 3x3, project by 1x1; add the input where shapes agree."""

    def __init__(
        self, channels_in: int, channels_out: int, expansion: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        wide = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(channels_in, wide, 1, bias=False), BatchNorm(wide), nn.ReLU6()]
        layers += [
            nn.Conv2d(
                wide, wide, 3, stride, padding=dilation, dilation=dilation, groups=wide, bias=False
            ),
            BatchNorm(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, channels_out, 1, bias=False),
            BatchNorm(channels_out),
        ]
        self.layers = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.has_shortcut else y


class MobileNetSegmentation(nn.Module):
    """MobileNetV2 at 1/16 of the image, refined by its own maps at 1/4 (R): 3,255,519 parameters.

    For 15 classes; 257 per class. The head is that of Chen et al., "Encoder-Decoder with Atrous
    Separable Convolution", ECCV 2018 (DeepLabV3+), without its pyramid of dilated convolutions.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False), BatchNorm(32), nn.ReLU6()
        )
        blocks: list[nn.Module] = [stem]
        channels = 32
        for expansion, wanted, repeats, row_stride in ROWS:
            for repeat in range(repeats):
                stride = row_stride if repeat == 0 else 1
                if len(blocks) == DILATED:
                    stride = 1
                dilation = 2 if len(blocks) > DILATED else 1
                blocks.append(InvertedResidual(channels, wanted, expansion, stride, dilation))
                channels = wanted
        self.features = nn.ModuleList(blocks)
        self.shortcut = nn.Sequential(nn.Conv2d(24, 48, 1), BatchNorm(48), nn.ReLU())
        self.head = nn.Sequential(
            nn.Conv2d(48 + channels, 256, 3, padding=1),
            BatchNorm(256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(256, 256, 3, padding=1),
            BatchNorm(256),
            nn.ReLU(),
            nn.Dropout(0.1),
        )
        self.classify = nn.Conv2d(256, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, C, H, W) of an image (N, 1, H, W)."""
        high = image
        for index, block in enumerate(self.features):
            high = block(high)
            if index == LOW:
                low: Tensor = self.shortcut(high)
        joined = torch.cat((enlarge(high, low), low), dim=1)
        return enlarge(self.classify(self.head(joined)), image)


# --- a small one (O) ------------------------------------------------------------------------------

WIDTHS = (12, 24, 40)  # maps at the image's size, at 1/2 and at 1/4


class Layer(nn.Module):
    """3x3 convolution, batch normalisation, SiLU; adds its input where shapes agree."""

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.filter = nn.Conv2d(
            channels_in, channels_out, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        self.norm = BatchNorm(channels_out)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        filtering = self.filter
        if self.training:
            y: Tensor = F.silu(self.norm(filtering(x)))
        else:  # as one convolution: attribution spends its time here
            kernels, bias = self.norm.fold(filtering.weight)
            stride, padding, dilation = filtering.stride, filtering.padding, filtering.dilation
            y = F.silu(F.conv2d(x, kernels, bias, stride, padding, dilation))
        return x + y if self.has_shortcut else y


class SmallSegmentation(nn.Module):
    """Three scales down, a wide view at the coarsest, and up again (O): 69,424 parameters.

    For 8 classes; 13 per class. Attribution differentiates S, so every function in it is smooth:
    with ReLU the gradients jump, and normalised attention would pass the jumps on.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.fine = nn.Sequential(Layer(1, fine), Layer(fine, fine))
        self.middle = nn.Sequential(Layer(fine, middle, stride=2), Layer(middle, middle))
        self.coarse = nn.Sequential(
            Layer(middle, coarse, stride=2),
            Layer(coarse, coarse, dilation=2),
            Layer(coarse, coarse, dilation=4),
            Layer(coarse, coarse),
        )
        self.narrow = nn.ModuleList(nn.Conv2d(wide, thin, 1) for thin, wide in pairwise(WIDTHS))
        self.join_middle = Layer(middle, middle)
        self.join_fine = Layer(fine, fine)
        self.classify = nn.Conv2d(fine, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, C, H, W) of an image (N, 1, H, W)."""
        fine: Tensor = self.fine(image)
        middle: Tensor = self.middle(fine)
        coarse: Tensor = self.coarse(middle)
        to_fine, to_middle = self.narrow
        middle = self.join_middle(middle + enlarge(to_middle(coarse), middle))
        fine = self.join_fine(fine + enlarge(to_fine(middle), fine))
        logits: Tensor = self.classify(fine)
        return logits


# --- the choice -----------------------------------------------------------------------------------


def build_segmentation(kind: Segmentation, classes: int) -> nn.Module:
    """Return a fresh S of a kind, with `classes` outputs (class 0 = unlabelled)."""
    match kind:
        case "small":
            return SmallSegmentation(classes)
        case "mobilenet":
            return MobileNetSegmentation(classes)
