"""Train many models of one shape at once: their weights lie stacked, and one step is one set of kernels for all.

A small network leaves most of a GPU idle; K of them side by side do not. On a CPU this is a loss, so nothing here is
on by itself: `sweep(..., stack=16)` asks for it. What `fit_many` computes is what `engine.fit` computes for each model
alone, up to rounding: a test holds the two together on the CPU. On an H200 sixteen stacked models trained 4.2 times
(LeNet) and 2.3 times (autoencoder of 2.85 million weights) as many images a second as one. There PyTorch refuses some
networks ("clone inside vmap"), and a sweep trains these one by one.

Possible for methods with one player that moves once a batch and draws no random numbers. Optimisers, schedules and
hooks are each model's own, and batch normalisation keeps the statistics of each. In bf16 it takes its input as fp32,
for PyTorch's does not mix the two under vmap: there a stacked run differs from a single one as bf16 rounds. What
differs between models must lie in parameters and buffers: the first batch of every epoch compares each model's loss
with the one that it has on its own.
"""

from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._pytree import tree_map

from .engine import (
    Batch,
    Data,
    check_finite,
    default_device,
    epoch_batches,
    flushing_denormals,
    hook,
    make_optimizer,
    players_of,
    resolve_precision,
    set_rate,
    undisturbed,
)

TOLERANCE = {"fp32": 1e-3, "bf16": 1e-2}  # relative, between a loss in a stack and on its own; TF32 rounds to 1e-3


@flushing_denormals()
def fit_many(methods, tasks, epochs, batch_size=128, seeds=None, device=None, progress=None, look_back=None,
             looks=(), precision="fp32"):  # fmt: skip
    """Train methods[k] on tasks[k] with seeds[k] (default 0) and return their losses, each (epochs, 1).

    The methods are of one class and their tensors of the same shapes; the tasks may have different numbers of images.
    Raises ValueError where the methods cannot be stacked, RuntimeError where a loss draws random numbers or does what
    vmap cannot, else as `engine.fit`. After each epoch in `looks` every model is made ready to score, and
    `look_back(epoch, k)` is called for each. Hooks that draw random numbers get others than in `engine.fit`.
    """
    device, seeds = torch.device(device or default_device()), seeds or [0] * len(methods)
    precision = resolve_precision(precision, device)
    # Models with more batches come first: those that still train at a step are then a slice from the front.
    many = sorted(range(len(methods)), key=lambda k: -len(tasks[k].train))
    models = [_Model(methods[k].to(device), tasks[k], seeds[k], device) for k in many]
    _check(models, batch_size, epochs)
    loss, tolerance = _Loss(models[0], device, precision), TOLERANCE[precision]
    history = torch.zeros(len(models), epochs, 1, device=device)
    for epoch in range(1, epochs + 1):
        state = _stack(models)
        batches = [list(epoch_batches(len(m.data), batch_size, m.order)) for m in models]
        for m in models:
            m.method.train()
            set_rate(m.player, m.optimizer, epoch)
        for step in range(len(batches[0])):
            active = [m for m, own in zip(models, batches, strict=True) if step < len(own)]
            drawn = [m.data.batch(own[step]) for m, own in zip(active, batches, strict=False)]
            alone = [_own_loss(_Loss(m, device, precision), batch)
                     for m, batch in zip(active, drawn, strict=True) if step == 0]  # fmt: skip
            values = _move(loss, state, active, drawn)
            if alone and not torch.allclose(values, torch.stack(alone), rtol=tolerance, equal_nan=True):
                raise ValueError("Losses that depend on more than parameters and buffers cannot be stacked.")
            history[:len(active), epoch - 1, 0] += values
        history[:, epoch - 1, 0] /= torch.tensor([len(own) for own in batches], device=device)
        check_finite(history[:, epoch - 1], epoch)
        for m in models:
            hook(m.method, "after_epoch", epoch, m.data)
        if look_back and epoch in looks and epoch < epochs:
            for k, m in zip(many, models, strict=True):
                with undisturbed(m.method, device):
                    hook(m.method, "finish", m.data)
                    look_back(epoch, k)
        if progress:
            progress(epoch)
    for k, m in zip(many, models, strict=True):
        hook(m.method, "finish", m.data)
        if look_back and epochs in looks:
            with undisturbed(m.method, device):
                look_back(epochs, k)
    losses = history.cpu().numpy()
    return [losses[many.index(k)] for k in range(len(methods))]


class _Model:
    """A method with all that is its own: data, order of batches, player, optimiser."""

    def __init__(self, method, task, seed, device):
        self.method, self.data = method, Data(method, task.train, task.train_y, device)
        torch.manual_seed(seed)
        self.order = torch.Generator().manual_seed(seed)
        self.players = players_of(method)
        self.player = self.players[0] if self.players else None
        if self.player:
            self.parameters, self.optimizer = make_optimizer(self.player)
        hook(method, "start", self.data)


class _Loss(nn.Module):
    """The loss of the first model as a module, so that its tensors can be replaced by those of any other."""

    def __init__(self, model, device, precision):
        super().__init__()
        self.method, self.player, self.device, self.precision = model.method, model.player, device, precision

    def forward(self, x, y, index):
        before = dict(vars(self.method))
        with _mixed(self.device) if self.precision == "bf16" else nullcontext():
            loss = self.player.loss(Batch(x, y, index))
        after = dict(vars(self.method))
        vars(self.method).update(before)
        # What the loss left in an attribute for after_step, such as distances, leaves as a result.
        return loss, {name: value for name, value in after.items() if value is not before.get(name)}


@contextmanager
def _mixed(device):
    def as_fp32(module, inputs):
        return tuple(x.float() for x in inputs) if isinstance(module, nn.modules.batchnorm._BatchNorm) else None

    with torch.autocast(device.type, torch.bfloat16), register_module_forward_pre_hook(as_fp32):
        yield


def _own_loss(loss, batch):
    """Return the loss (scalar) that a model has without the others, and leave its statistics as they are."""
    buffers = {name: buffer.clone() for name, buffer in loss.named_buffers()}
    return functional_call(loss, buffers, tuple(batch))[0].detach()


def _move(loss, state, active, drawn):
    """Make one step of the active models and return their losses (K,)."""
    parameters, buffers, gradients = ({name: t[:len(active)] for name, t in part.items()} for part in state)
    x, y, index = (torch.stack(part) for part in zip(*drawn, strict=True))

    def of_one(parameters, buffers, x, y, index):
        return functional_call(loss, (parameters, buffers), (x, y, index))

    found, (values, kept) = vmap(grad_and_value(of_one, has_aux=True))(parameters, buffers, x, y, index)
    for name, gradient in gradients.items():
        gradient.copy_(found[name])
    for k, m in enumerate(active):
        m.optimizer.step()
        vars(m.method).update(tree_map(lambda value, k=k: value[k], kept))
        hook(m.method, "after_step", drawn[k])
    return values


def _stack(models):
    """Make the tensors of all models slices of stacked ones, in place; return parameters, buffers and gradients."""
    parameters, buffers, gradients = {}, {}, {}
    trained = {id(p) for p in models[0].parameters}
    for name, first in models[0].method.named_parameters():
        own = [m.method.get_parameter(name) for m in models]
        parameters[f"method.{name}"] = whole = torch.stack([p.data for p in own])
        for k, p in enumerate(own):
            p.data = whole[k]
        if id(first) in trained:
            gradients[f"method.{name}"] = whole = torch.zeros_like(whole)
            for k, p in enumerate(own):
                p.grad = whole[k]
    for name, _ in models[0].method.named_buffers():
        buffers[f"method.{name}"] = whole = torch.stack([m.method.get_buffer(name) for m in models])
        for k, m in enumerate(models):
            module, _, last = name.rpartition(".")
            m.method.get_submodule(module)._buffers[last] = whole[k]
    return parameters, buffers, gradients


def _check(models, batch_size, epochs):
    shapes = {tuple((name, t.shape) for name, t in m.method.state_dict().items()) for m in models}
    if len({type(m.method) for m in models}) > 1 or len(shapes) > 1:
        raise ValueError("Only methods of one class with tensors of the same shapes can be stacked.")
    if any(len(m.players) != 1 or (m.player.steps, m.player.every, m.player.after) != (1, 1, None) for m in models):
        raise ValueError("Only methods with one player that moves once a batch can be stacked.")
    if len({min(batch_size, len(m.data)) for m in models}) > 1:
        raise ValueError(f"A training set has fewer images than one batch of {batch_size}.")
    for epoch in range(1, epochs + 1):
        if any(m.player.schedule and m.player.schedule(epoch) == 0 for m in models):
            raise ValueError(f"A player that sits out cannot be stacked: its schedule is 0 in epoch {epoch}.")
