"""Train and score any method; know nothing of papers.

A method is an `nn.Module` that gives its loss for a batch and one anomaly score an image:

    class Method(nn.Module):
        def loss(self, batch): ...      # a scalar; batch.x is (B, C, H, W), prepared
        def score(self, x): ...         # (B,), higher = more anomalous

What it may add, each optional:

    prepare(images)                     # uint8 (B, C, H, W) -> float; the default divides by 255
    players()                           # a list of Player, for more than one loss or another optimiser
    start(data)                         # before the first step
    after_step(batch)                   # after each step
    after_epoch(epoch, data)            # after each epoch, which count from 1
    finish(data)                        # what scoring needs: after the last epoch, and before each look back

The images stay on the device as uint8 and a batch is an index, so no step waits for the host. Where a task holds
features, read "features" for "images": they come to `prepare` as they are there. The weights of
convolutions lie channels-last in memory, which is faster; a method therefore writes z.reshape, for z.view can fail.
"""

import math
import sys
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

PRECISIONS = ("auto", "fp32", "bf16")
ADAM = partial(torch.optim.Adam, lr=1e-3)


class Batch(NamedTuple):
    """What a loss sees: prepared images x (B, C, H, W), their classes y (B,), their positions index (B,)."""

    x: torch.Tensor
    y: torch.Tensor
    index: torch.Tensor


@dataclass
class Player:
    """One loss with the parameters that minimise it.

    `optimizer` makes a torch optimiser from the parameters. `schedule(epoch)` is a factor on its learning rate; in an
    epoch where it is 0 the player sits out. Else it moves `steps` times at every `every`-th batch, and `after()` runs
    after each of its moves.
    """

    loss: Callable[[Batch], torch.Tensor]
    parameters: Iterable[torch.nn.Parameter]
    optimizer: Callable = ADAM
    schedule: Callable[[int], float] | None = None
    steps: int = 1
    every: int = 1
    after: Callable[[], None] | None = None


class Data:
    """The training images, resident on the device, as a method's hooks see them."""

    def __init__(self, method, images, y, device):
        self.images = images.to(device)  # (N, C, H, W) uint8
        self.y = y.to(device)
        self.method = method

    def __len__(self):
        return len(self.images)

    def batch(self, index):
        """Return the prepared Batch at positions `index` (B,)."""
        index = index.to(self.images.device)
        images = self.images.index_select(0, index)  # on uint8 it is ten times as fast as images[index]
        return Batch(prepare(self.method, images), self.y[index], index)

    def map(self, function, batch_size=1024):
        """Return function(x) for all prepared images, concatenated, in eval mode and without gradients."""
        with evaluating(self.method):
            return torch.cat([function(prepare(self.method, u8)) for u8 in self.images.split(batch_size)])


def default_device():
    """Return "cuda" where a GPU is at hand, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_precision(precision, device=None):
    """Return what `precision` means on a device, "fp32" or "bf16".

    "auto" is bf16 where the device has instructions for it, and does not only imitate them, else fp32. Raises
    ValueError for an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is unknown; possible are {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return precision
    return "bf16" if _has_bf16(torch.device(device or default_device())) else "fp32"


def _has_bf16(device):
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Private names of torch, which other versions may lack: then the processor counts as one without.
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return device.type == "cpu" and any(ask() for ask in asked if ask)


def prepare(method, images):
    """Turn uint8 images (B, C, H, W) into the method's float input; by default values in [0, 1]."""
    return method.prepare(images) if hasattr(method, "prepare") else images.float() / 255


@contextmanager
def evaluating(method):
    """Switch to eval mode without gradients, and back to the mode before."""
    training = method.training
    method.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        method.train(training)


@contextmanager
def flushing_denormals():
    """Take numbers below 1e-38 for 0: a net that stops learning drifts into them, and they are five times slower."""
    before = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)  # others, such as hypothesis, count on small numbers


@contextmanager
def undisturbed(method, device):
    """Give back torch's random states, and the mode of every module of the method, as they were."""
    modes = [(module, module.training) for module in method.modules()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    for module, training in modes:
        module.training = training


def epochs_to_look_at(epochs, n=8):
    """Return up to n epochs, a set, from the first to the last of `epochs`, each about as many times the one before."""
    return set(np.geomspace(1, epochs, n).round().astype(int).tolist()) if epochs > 0 else set()


def epoch_batches(n, batch_size, generator):
    """Yield the shuffled index batches of one epoch.

    The last, shorter batch is dropped, unless the set is smaller than one batch: other images fall away each epoch.
    """
    batch_size = min(batch_size, n)
    order = torch.randperm(n, generator=generator)
    yield from order[: n // batch_size * batch_size].split(batch_size)


def players_of(method):
    """Return the method's players; a method with one loss is one player with all its parameters."""
    if hasattr(method, "players"):
        return method.players()
    return [Player(method.loss, method.parameters())]


@flushing_denormals()
def fit(method, task, epochs, batch_size=128, seed=0, device=None, precision="fp32", progress=None, compiled=False,
        look_back=None, looks=()):  # fmt: skip
    """Train a method on task.train and return its losses, a float array (epochs, players); 0 where one sat out.

    The seed fixes batches and noise: the same seed on the same processor gives the same weights. `precision` is one of
    PRECISIONS, as `resolve_precision` reads it; bf16 is autocast. `progress(epoch)` is called after each epoch.
    `compiled` sends the losses through torch.compile: equal up to rounding, and on a GPU a tensor that a loss leaves
    in an attribute holds until the next loss. After each epoch in `looks` the method is made ready to score and
    `look_back(epoch, method)` is called; that changes no later number, as long as `finish` and `look_back` set nothing
    that training reads. Raises FloatingPointError where a loss ends an epoch as NaN or infinite, and ValueError for an
    unknown precision or an empty training set.
    """
    device = torch.device(device or default_device())
    precision = resolve_precision(precision, device)
    if len(task.train) == 0:
        raise ValueError("The training set is empty: no image is left to train on.")
    method.to(device, memory_format=torch.channels_last)
    data = Data(method, task.train, task.train_y, device)
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)  # on the CPU, so that every device sees the same batches
    players = [(player, *make_optimizer(player)) for player in players_of(method)]
    if compiled:
        players = [(replace(player, loss=_compiled(player.loss, device)), *rest) for player, *rest in players]
    history = torch.zeros(epochs, len(players), device=device)
    hook(method, "start", data)
    for epoch in range(1, epochs + 1):
        method.train()
        plays = [set_rate(player, optimizer, epoch) > 0 for player, _, optimizer in players]
        moves = [0] * len(players)
        for step, index in enumerate(epoch_batches(len(data), batch_size, order)):
            batch = data.batch(index)
            for k, (player, parameters, optimizer) in enumerate(players):
                if plays[k] and step % player.every == 0:
                    for _ in range(player.steps):
                        history[epoch - 1, k] += _move(player, parameters, optimizer, batch, device, precision)
                        moves[k] += 1
            hook(method, "after_step", batch)
        history[epoch - 1] /= torch.tensor(moves, device=device).clamp(min=1)
        check_finite(history[epoch - 1], epoch)
        hook(method, "after_epoch", epoch, data)
        if look_back and epoch in looks and epoch < epochs:
            with undisturbed(method, device):
                hook(method, "finish", data)
                look_back(epoch, method)
        if progress:
            progress(epoch)
    hook(method, "finish", data)
    if look_back and epochs in looks:
        with undisturbed(method, device):
            look_back(epochs, method)
    return history.cpu().numpy()


def score(method, images, batch_size=1024, device=None):
    """Return one anomaly score an image, float64 (N,), higher = more anomalous, in eval mode.

    `images` is uint8 (N, C, H, W). The score of an image does not depend on the others in its batch.
    FloatingPointError where one is NaN or infinite.
    """
    found = each_image(method, images, method.score, batch_size, device)
    if not np.isfinite(found).all():  # the last step may have spoilt the weights after its loss was looked at
        raise FloatingPointError("A score is not finite; try a smaller learning rate.")
    return found


def scores(method, images, batch_size=1024, device=None):
    """Return every score that a method has under a name, {name: float64 (N,)}; empty for one without `scores(x)`."""
    if not hasattr(method, "scores"):
        return {}
    return each_image(method, images, method.scores, batch_size, device)


def each_image(method, images, function, batch_size=1024, device=None):
    """Return function(x), for uint8 images (N, C, H, W) prepared by the method, in eval mode, batch by batch.

    `function` gives a tensor (B, ...), or a dictionary of such; the result is the same as float64 or int64 arrays on
    the CPU, with N rows.
    """
    device = device or next((t.device for t in chain(method.parameters(), method.buffers())), "cpu")
    method.to(memory_format=torch.channels_last)  # as in training, so that a loaded method gives the same bits
    with evaluating(method):
        parts = [function(prepare(method, u8.to(device))) for u8 in images.split(batch_size)]
    if isinstance(parts[0], dict):
        return {name: _array([part[name] for part in parts]) for name in parts[0]}
    return _array(parts)


def _array(parts):
    whole = torch.cat(parts)
    return (whole.double() if whole.is_floating_point() else whole).cpu().numpy()


def check_finite(losses, epoch):
    """Raise FloatingPointError, which names the epoch, where one of its losses is NaN or infinite."""
    if not losses.isfinite().all():
        raise FloatingPointError(f"The loss is not finite in epoch {epoch}; try a smaller learning rate.")


def make_optimizer(player):
    """Return a player's parameters, as a list, and their optimiser, which remembers the rate that schedules scale."""
    parameters = list(player.parameters)
    optimizer = player.optimizer(parameters)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
        if isinstance(optimizer, torch.optim.Adam) and group["fused"] is group["foreach"] is None:
            group["fused"] = True  # one pass over the weights: 3.5 times as fast as torch's default on a CPU
    return parameters, optimizer


def set_rate(player, optimizer, epoch):
    """Set the learning rate that the player's schedule has for this epoch, and return the schedule's factor."""
    factor = player.schedule(epoch) if player.schedule else 1
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return factor


def _move(player, parameters, optimizer, batch, device, precision):
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = player.loss(batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters)
    optimizer.step()
    if player.after:
        player.after()
    return loss.detach()


def _compiled(loss, device):
    # On a GPU as CUDA graphs, one launch for many kernels. The noise stays that of the plain path.
    options = {"triton.cudagraphs": device.type == "cuda", "fallback_random": True}
    return torch.compile(loss, dynamic=False, options=options)


def hook(method, name, *arguments):
    """Call a hook of the method where it has one."""
    if hasattr(method, name):
        getattr(method, name)(*arguments)


def step_decay(every, factor=0.5):
    """Return a schedule that multiplies the learning rate by `factor` every `every` epochs, which count from 1."""
    return lambda epoch: factor ** math.floor(epoch / every)
