"""Several processes that train one network, as torchrun starts them: each has a share of a batch.

Every process draws the same batch and keeps its slice; losses and gradients are sums over all
processes, each weighted by its share of the batch. What a loss averages over the batch before it is
used nonlinearly is averaged over all processes, with gradients (`mean`). torch's
DistributedDataParallel wants one module whose `forward` is all that runs; these losses call parts
of several modules, so gradients are summed here, once a step, in one buffer.

A process alone is a team of one, whose every operation returns its argument.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fnetcli.errors import TrainingError, UsageError
from fnetcli.text import number_of

TIMEOUT = timedelta(minutes=30)  # for a collective: validation of whole images takes long
T = TypeVar("T")


class TeamLostError(TrainingError):
    """Another process of the team has died."""


@dataclass(frozen=True)
class Team:
    """The processes, and which piece of a process's share is at work (`--accumulate`)."""

    rank: int = 0
    count: int = 1
    piece: int = 0
    pieces: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    # --- shares ---

    def share(self, size: int) -> slice:
        """Return the slice of a batch that belongs to this process."""
        return _part(slice(0, size), self.rank, self.count)

    def at_work(self, size: int) -> slice:
        """Return the slice of a batch that is at work here now."""
        return _part(self.share(size), self.piece, self.pieces)

    def within_share(self, size: int) -> slice:
        """Return what is at work now as a slice of this process's share."""
        share, piece = self.share(size), self.at_work(size)
        return slice(piece.start - share.start, piece.stop - share.start)

    def weight(self, size: int) -> float:
        """Return the part of a batch that is at work here now, in (0, 1]."""
        piece = self.at_work(size)
        return float((piece.stop - piece.start) / size)

    def require_batch(self, size: int) -> None:
        """Raise UsageError if somebody would have nothing to do."""
        if size < self.count * self.pieces:
            processes = number_of(self.count, "process", "processes")
            raise UsageError(
                f"a batch of {size} for {processes} with {number_of(self.pieces, 'piece')} each; "
                "use a larger batch in the recipe, fewer processes or a smaller --accumulate"
            )

    def indices(self, count: int) -> range:
        """Return which of some independent items belong to this process."""
        return range(self.rank, count, self.count)

    # --- together ---

    def mean(self, values: Tensor, count: int) -> Tensor:
        """Return the mean of everybody's means over `count` samples, with gradients."""
        if self.is_alone:
            return values
        total = self.add(torch.tensor(float(count), dtype=torch.float64, device=values.device))
        weighted: Tensor = _Sum.apply(values * (count / total.item()))  # type: ignore[no-untyped-call]
        return weighted

    def balance(self, counted: Tensor, count: int) -> Tensor | None:
        """Return the factor that makes a mean over what is counted here one over everybody's.

        `counted` is how much that is, in `count` samples; None: nobody else counts.
        """
        if self.is_alone:
            return None
        own = torch.stack((counted.double(), torch.full_like(counted, count, dtype=torch.float64)))
        total = self.add(own)
        share = own[0] / total[0].clamp_min(1e-300)
        return (share * total[1] / count).to(counted.dtype)

    def add(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, without gradients."""
        if self.is_alone:
            return values
        total = values.detach().clone()
        _together(lambda: dist.all_reduce(total))
        return total

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace all gradients by their sums; one that nobody has stays away."""
        if self.is_alone:
            return
        has = torch.tensor([float(one.grad is not None) for one in parameters])
        flat = torch.cat(
            [
                has.to(parameters[0].device),
                *(
                    (torch.zeros_like(one) if one.grad is None else one.grad).flatten()
                    for one in parameters
                ),
            ]
        )
        _together(lambda: dist.all_reduce(flat))
        somebody_has = flat[: len(parameters)].tolist()
        pieces = flat[len(parameters) :].split([one.numel() for one in parameters])
        for one, piece, count in zip(parameters, pieces, somebody_has, strict=True):
            one.grad = piece.view_as(one).clone() if count else None

    def agree_on(self, modules: Iterable[nn.Module]) -> None:
        """Make what modules count from batches the mean over the processes."""
        if self.is_alone:
            return
        buffers = [one for module in modules for one in module.buffers()]
        if not buffers:
            return
        flat = torch.cat([one.float().flatten() for one in buffers])
        _together(lambda: dist.all_reduce(flat))
        pieces = (flat / self.count).split([one.numel() for one in buffers])
        for one, piece in zip(buffers, pieces, strict=True):
            one.copy_(piece.view_as(one))

    def copy_from_leader(self, modules: Iterable[nn.Module]) -> None:
        """Start from the leader's numbers."""
        if self.is_alone:
            return
        for module in modules:
            for value in module.state_dict().values():
                _together(partial(dist.broadcast, value, 0))

    def gather(self, value: T) -> list[T]:
        """Return everybody's value, in order; values are of our own processes."""
        if self.is_alone:
            return [value]
        found: list[Any] = [None] * self.count
        _together(lambda: dist.all_gather_object(found, value))
        return found


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of everybody's."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        _together(lambda: dist.all_reduce(total))
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        _together(lambda: dist.all_reduce(total))
        return total


def _together(work: Any) -> None:
    """Do something with all processes. Raise TeamLostError if one is gone."""
    try:
        work()
    except RuntimeError as error:
        raise TeamLostError(f"another process of this training has ended ({error})") from None


def _part(whole: slice, number: int, count: int) -> slice:
    length = whole.stop - whole.start
    start, stop = (whole.start + length * one // count for one in (number, number + 1))
    return slice(start, stop)


# --- the team of this process ---------------------------------------------------------------------

_team = Team()


def team() -> Team:
    """Return the team of this process."""
    return _team


@contextmanager
def working_on(piece: int, pieces: int) -> Iterator[Team]:
    """Work on one piece of this process's share."""
    global _team  # noqa: PLW0603
    before = _team
    _team = Team(before.rank, before.count, piece, pieces)
    try:
        yield _team
    finally:
        _team = before


@contextmanager
def working_alone() -> Iterator[Team]:
    """Let losses look at nothing but what is at work here; yield the team for everything else."""
    global _team  # noqa: PLW0603
    before, _team = _team, Team()
    try:
        yield before
    finally:
        _team = before


def has_team() -> bool:
    """Whether torchrun has started this process with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def rank() -> int:
    """Return this process's number among those that torchrun has started."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Return this process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """Join the team that torchrun has started, if it has. Raise TrainingError."""
    global _team  # noqa: PLW0603
    if not has_team():
        yield _team
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"the processes of this training cannot meet ({error}); start them with torchrun"
        ) from None
    _team = Team(dist.get_rank(), dist.get_world_size())
    try:
        yield _team
    finally:
        _team = Team()
        dist.destroy_process_group()
