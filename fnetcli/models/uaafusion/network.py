"""UAAFusion: an unfolded fusion steered by what a segmentation network looks at.

Source: Bai, Zhao, Zhang, Jiang, Deng, Cui, Xu, Zhang, "Deep Unfolding Multi-modal Image Fusion
Network via Attribution Analysis", IEEE TCSVT 35(4), 3498-3511, 2025, arXiv 2502.01467. Origins:
(P) the paper's abstract, (R) the authors' released program, (O) a choice of this project.

A segmentation network S looks at the infrared image i and the visible image v. Where its decision
for a region rests more on i than on v, the fused image f shall follow i there (P)::

    min_f  1/2 sum_p [ w_i (f - i)^2 + w_v (f - v)^2 ] + lambda g(f),     w_i + w_v = 1

The gradient of the data term is f - (w_i i + w_v v). Unfolded, K steps of proximal gradient descent
whose proximal operators P_k are learned and steered by a path attribution a^k::

    f^0 = (i + v) / 2
    r^k = f^k - alpha_k (f^k - (w_i i + w_v v))
    f^(k+1), memory = P_k(r^k, a^k, memory),     k = 0 ... K - 1

Read from top to bottom: each class uses only what stands above it. Images are luminance in [0, 1],
(N, 1, H, W); maps between convolutions have `channels` channels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fnetcli.models.base import Fusion, Wanted
from fnetcli.models.uaafusion.attribution import (
    evaluation_mode,
    extend_path,
    path_gradient,
    scale_attention,
    smooth,
    weigh_sources,
)
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.segmentation import build_segmentation

FIRST_ALPHA = 0.5  # R starts at 0.001, which moves f by at most 0.001 and learns slowly (O)
SLOPE = 0.25  # of a fresh PReLU

# --- the pieces of a stage ------------------------------------------------------------------------


def _convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Return a 3x3 convolution with reflect padding and He-initialised kernels (O).

    With torch's default kernels (R) the estimates of a fresh network are flat.
    """
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode="reflect")
    nn.init.kaiming_uniform_(convolution.weight, a=SLOPE)
    return convolution


class Unit(nn.Module):
    """3x3 convolution, PReLU with one slope, 3x3 convolution (R)."""

    def __init__(self, channels_in: int, channels_between: int, channels_out: int) -> None:
        super().__init__()
        self.first = _convolution(channels_in, channels_between)
        self.activation = nn.PReLU(init=SLOPE)
        self.second = _convolution(channels_between, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H, W)."""
        y: Tensor = self.second(self.activation(self.first(x)))
        return y


class Gates(nn.Module):
    """One 3x3 convolution for each gate, computed as a single one."""

    def __init__(self, channels: int, names: Collection[str]) -> None:
        super().__init__()
        self.gates = nn.ModuleDict({name: _convolution(channels, channels) for name in names})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return each gate's (N, C, H, W), before its activation."""
        convolutions = [cast("nn.Conv2d", gate) for gate in self.gates.values()]
        weight = torch.cat([gate.weight for gate in convolutions])
        bias = torch.cat([cast("Tensor", gate.bias) for gate in convolutions])
        maps = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias)
        return dict(zip(self.gates, maps.chunk(len(convolutions), dim=1), strict=True))


class ConvLSTM(nn.Module):
    """Convolutional LSTM on maps m: what to keep, to take up and to show (R).

    ::

        F, I, O = sigmoid(X m + H h)    J = tanh(X_j m + H_j h)    c' = F c + I J    h' = O tanh(c')

    The first one has no earlier h and c, so no F: c' = I J and h' = O c', without the tanh. The
    published weights depend on that.
    """

    def __init__(self, channels: int, *, is_first: bool) -> None:
        super().__init__()
        names = ("input", "output", "candidate")
        if is_first:
            self.from_input, self.from_hidden = Gates(channels, names), None
        else:
            self.from_input = Gates(channels, ("forget", *names))
            self.from_hidden = Gates(channels, ("forget", *names))

    def forward(self, m: Tensor, hidden: Tensor | None, cell: Tensor | None) -> tuple[Tensor, ...]:
        """Return h' and c' from m, h and c, each (N, C, H, W)."""
        gates = self.from_input(m)
        if self.from_hidden is None or hidden is None or cell is None:
            cell = torch.sigmoid(gates["input"]) * torch.tanh(gates["candidate"])
            return torch.sigmoid(gates["output"]) * cell, cell
        gates = {name: gates[name] + old for name, old in self.from_hidden(hidden).items()}
        taken = torch.sigmoid(gates["input"]) * torch.tanh(gates["candidate"])
        cell = torch.sigmoid(gates["forget"]) * cell + taken
        return torch.sigmoid(gates["output"]) * torch.tanh(cell), cell


class Memory(NamedTuple):
    """What one stage hands to the next, each (N, C, H, W): LSTM state, long and short memory."""

    hidden: Tensor | None
    cell: Tensor | None
    long: Tensor
    short: Tensor


# --- one stage ------------------------------------------------------------------------------------


class Stage(nn.Module):
    """The learned proximal operator P_k (R).

    ::

        e  = Unit1(r)
        u  = Unit2(e, l, s)
        s' = u + Unit3(u) sigmoid(a)
        f' = sigmoid(Unit4(s'))
        h', c' = ConvLSTM(Unit5(e, u, s'), h, c)    l' = Unit6(h')

    The last stage hands nothing on and has no memory: R builds one that can never act.
    """

    def __init__(self, channels: int, *, is_first: bool, is_last: bool) -> None:
        super().__init__()
        c = channels
        self.embed = Unit(1, c, c)  # Unit1
        self.join = Unit(3 * c, c, c)  # Unit2
        self.attend = Unit(c, c, c)  # Unit3
        self.estimate = Unit(c, c // 2, 1)  # Unit4
        self.has_memory = not is_last
        if self.has_memory:
            self.gather = Unit(3 * c, c, c)  # Unit5
            self.lstm = ConvLSTM(c, is_first=is_first)
            self.recall = Unit(c, c, c)  # Unit6

    def forward(self, r: Tensor, gate: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Return f' and the new memory from r and gate = sigmoid(a), both (N, 1, H, W)."""
        e = self.embed(r)
        u = self.join(torch.cat((e, memory.long, memory.short), dim=1))
        short = u + self.attend(u) * gate
        fused = torch.sigmoid(self.estimate(short).to(r.dtype))
        if not self.has_memory:
            return fused, memory._replace(short=short)
        m = self.gather(torch.cat((e, u, short), dim=1))
        hidden, cell = self.lstm(m, memory.hidden, memory.cell)
        return fused, Memory(hidden, cell, self.recall(hidden), short)


# --- the network ----------------------------------------------------------------------------------


FUSED_ONLY = Wanted()


class Moment(NamedTuple):
    """Stage k: what it starts from and what it makes; images (N, 1, H, W)."""

    k: int
    before: Tensor  # f^k
    gradient: Tensor | None  # g^k; None at k = 0, whose attention is 0 by definition
    attention: Tensor  # a^k, not scaled
    gate: Tensor  # sigmoid of the scaled a^k
    descended: Tensor  # r^k
    after: Tensor  # f^(k+1)
    memory: Memory


class Guide(NamedTuple):
    """What S decides about a pair, (N, 1, H, W) each; the rest of the network sees 44 pixels far.

    Of a reduced image it can be enlarged, and the convolutions run on pieces of the whole one.
    """

    weight: Tensor | None  # w_i; None where nothing needs it
    gates: tuple[Tensor, ...]  # sigmoid of the scaled a^k of each stage
    classes: Tensor | None  # S's class of each pixel of the fused image; None: not wanted


class UAAFusion(nn.Module):
    """Fuse an infrared (first) and a visible (second) image, asking S what matters in each.

    Needs gradients of S at inference: they are switched on inside, so callers may hold `no_grad`
    but not `inference_mode`. Attribution runs in full precision under autocast too, with S in
    evaluation mode (O).
    """

    def __init__(
        self, config: UAAFusionConfig | None = None, segmentation: nn.Module | None = None
    ) -> None:
        """Build a fresh network; another S may be given: image -> logits (N, classes, H, W)."""
        super().__init__()
        self.config = config = config or UAAFusionConfig()
        half = config.channels // 2
        self.start_infrared = Unit(1, half, half)
        self.start_visible = Unit(1, half, half)
        self.alpha = nn.Parameter(torch.full((config.stages,), FIRST_ALPHA))
        self.stages = nn.ModuleList(
            Stage(config.channels, is_first=k == 0, is_last=k == config.stages - 1)
            for k in range(config.stages)
        )
        self.segmentation = segmentation or build_segmentation(config.segmentation, config.classes)

    @property
    def map_names(self) -> tuple[str, ...]:
        """What `fuse` can return beside the fused image, as images."""
        return self.config.map_names

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What `fuse` can return as tensors of many channels: the memory of the last stage."""
        return self.config.feature_names

    def fusion_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the fusion network, without those of S."""
        own = self.named_parameters()
        return [parameter for name, parameter in own if not name.startswith("segmentation.")]

    def score(self, image: Tensor) -> Tensor:
        """Return S's scores, (N, C, H, W) in [0, 1], of an image (N, 1, H, W)."""
        logits: Tensor = self.segmentation(image)
        return logits.softmax(dim=1) if self.config.scores == "softmax" else torch.sigmoid(logits)

    @torch.no_grad()
    def guess_mask(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return S(f^0), (N, C, H, W): the mask where there is no label (R)."""
        with _full_precision(infrared), evaluation_mode(self.segmentation):
            return self.score((infrared + visible) / 2)

    def weigh(
        self, infrared: Tensor, visible: Tensor, mask: Tensor, *, is_label: bool = False
    ) -> Tensor:
        """Return the weight w_i of the infrared image, (N, 1, H, W); w_v = 1 - w_i."""
        with _full_precision(infrared), evaluation_mode(self.segmentation):
            return weigh_sources(
                self.score,
                infrared,
                visible,
                mask,
                steps=self.config.path_steps,
                rule=self.config.path_rule,
                is_label=is_label,
            )

    def descend(
        self, k: int, estimate: Tensor, infrared: Tensor, visible: Tensor, weight: Tensor | None
    ) -> Tensor:
        """Return r^k: one gradient step of length alpha_k on the data term, or f^k without it."""
        if weight is None or not self.config.data_step:
            return estimate
        target = weight * infrared + (1 - weight) * visible
        return estimate - self.alpha[k] * (estimate - target)

    def unfold(
        self,
        infrared: Tensor,
        visible: Tensor,
        weight: Tensor | None,
        mask: Tensor | None,
        gates: Sequence[Tensor] = (),
    ) -> Iterator[Moment]:
        """Run the stages one by one; the weight may be None only without the data step.

        `mask` (N, C, H, W) is S(f^0) or a one-hot label: what the path attribution compares with.
        With the gates of all stages given, there is no path attribution, and no mask is needed.
        """
        long = torch.cat((self.start_infrared(infrared), self.start_visible(visible)), dim=1)
        memory = Memory(None, None, long, long)
        estimate = previous = (infrared + visible) / 2
        attention, gradient = torch.zeros_like(estimate), None
        for k, stage in enumerate(self.stages):
            if k > 0 and mask is not None and not gates:
                move = (estimate - previous).detach()
                with _full_precision(infrared), evaluation_mode(self.segmentation):
                    gradient = path_gradient(self.score, estimate, mask)
                attention = extend_path(attention, k, gradient, move)
            gate = gates[k] if gates else self._gate(attention)
            descended = self.descend(k, estimate, infrared, visible, weight)
            fused, memory = stage(descended, gate, memory)
            yield Moment(k, estimate, gradient, attention, gate, descended, fused, memory)
            previous, estimate = estimate, fused

    def _gate(self, attention: Tensor) -> Tensor:
        """Return sigmoid of the scaled path attribution."""
        with _full_precision(attention):
            shown = smooth(attention) if self.config.smooth_attention else attention
            return torch.sigmoid(scale_attention(shown, self.config.attention))

    def forward(
        self, infrared: Tensor, visible: Tensor, wanted: Wanted = FUSED_ONLY
    ) -> Fusion[Tensor]:
        """Fuse (N, 1, H, W) in [0, 1]; see `fuse` for what maps and features hold."""
        maps = self.map_names if wanted.maps else ()
        features = self.feature_names if wanted.features else ()
        return self.fuse(infrared, visible, {*maps, *features})

    def fuse(self, infrared: Tensor, visible: Tensor, want: Collection[str] = ()) -> Fusion[Tensor]:
        """Fuse (N, 1, H, W) in [0, 1], any H, W >= 1, without a label.

        `want` names maps and features to return. Weights, stages and attention gates (sigmoid of
        the scaled a^k: 1/2 where S has no preference) lie in [0, 1]; segmentation holds S's class
        of each pixel of the fused image. Raise ValueError for other names.
        """
        unknown = sorted({*want} - {*self.map_names, *self.feature_names})
        if unknown:
            raise ValueError(f"UAAFusion has no map or feature {unknown[0]!r}")
        height, width = infrared.shape[-2:]
        infrared, visible = _widen(infrared), _widen(visible)
        mask = self.guess_mask(infrared, visible)
        weight = self._weight_if_needed(infrared, visible, mask, want)
        moments = self.unfold(infrared, visible, weight, mask)
        found = self._collect(moments, weight, want)
        if "segmentation" in want:
            maps = {**found.maps, "segmentation": self.segment(found.fused)}
            found = replace(found, maps=maps)
        return Fusion(
            found.fused[..., :height, :width],
            {},
            {n: found.maps[n][..., :height, :width] for n in self.map_names if n in want},
            {n: found.features[n][..., :height, :width] for n in self.feature_names if n in want},
        )

    def guide(self, infrared: Tensor, visible: Tensor, want: Collection[str] = ()) -> Guide:
        """Return what S decides about a pair of at least 2x2; `want` as in `fuse`."""
        mask = self.guess_mask(infrared, visible)
        weight = self._weight_if_needed(infrared, visible, mask, want)
        gates = []
        for moment in self.unfold(infrared, visible, weight, mask):
            gates.append(moment.gate)
            fused = moment.after
        classes = self.segment(fused) if "segmentation" in want else None
        return Guide(weight, tuple(gates), classes)

    def fuse_guided(
        self, infrared: Tensor, visible: Tensor, guide: Guide, want: Collection[str] = ()
    ) -> Fusion[Tensor]:
        """Fuse a piece of a pair, at least 2x2, with its piece of the guide; see `fuse`.

        A pixel depends on `config.margin` pixels around it, and on the guide at these.
        """
        moments = self.unfold(infrared, visible, guide.weight, None, guide.gates)
        found = self._collect(moments, guide.weight, want)
        if guide.classes is not None and "segmentation" in want:
            found = replace(found, maps={**found.maps, "segmentation": guide.classes})
        return found

    def segment(self, fused: Tensor) -> Tensor:
        """Return S's class of each pixel of an image, (N, 1, H, W), as real numbers."""
        with torch.no_grad(), _full_precision(fused), evaluation_mode(self.segmentation):
            return self.score(fused).argmax(dim=1, keepdim=True).to(fused.dtype)

    def _weight_if_needed(
        self, infrared: Tensor, visible: Tensor, mask: Tensor, want: Collection[str]
    ) -> Tensor | None:
        if self.config.data_step or {"weight_first", "weight_second"} & {*want}:
            return self.weigh(infrared, visible, mask)
        return None

    def _collect(
        self, moments: Iterator[Moment], weight: Tensor | None, want: Collection[str]
    ) -> Fusion[Tensor]:
        """Run all stages and keep what is wanted of them."""
        maps = dict[str, Tensor]()
        if weight is not None:
            maps |= {"weight_first": weight, "weight_second": 1 - weight}
        for moment in moments:
            maps |= {f"stage_{moment.k + 1}": moment.after, f"attention_{moment.k}": moment.gate}
            maps = {name: image for name, image in maps.items() if name in want}
            fused = moment.after
        features = {"memory_long": moment.memory.long, "memory_short": moment.memory.short}
        return Fusion(fused, {}, maps, {n: features[n] for n in features if n in want})


def _full_precision(image: Tensor) -> torch.autocast:
    """Switch autocast off: gradients of S are too small for bfloat16."""
    return torch.autocast(image.device.type, enabled=False)


def _widen(image: Tensor) -> Tensor:
    """Repeat a side of one pixel: reflection needs two."""
    height, width = image.shape[-2:]
    if min(height, width) > 1:
        return image
    return F.pad(image, (0, int(width == 1), 0, int(height == 1)), mode="replicate")
