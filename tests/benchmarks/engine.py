"""Images per second of three training loops, side by side in one run.

    python tests/benchmarks/engine.py                    on the GPU where there is one, else on the CPU
    python tests/benchmarks/engine.py --clock cpu        counts processor time, on a machine that others use too
    python tests/benchmarks/engine.py --bf16             also in bf16, which a processor without it only imitates

conventional   a Dataset of PIL images, the usual transforms, a DataLoader, `.item()` after every step
bare           forward, backward, step on prepared images that already lie on the device
engine         helpers.engine.fit
compiled       helpers.engine.fit with losses through torch.compile (--compiled), after a training that compiles
stacked        helpers.stacked.fit_many: several models of one shape at once (--stack), in model-images per second

The loops train the same networks on the same images with the same batches and optimiser. Every repeat runs all of
them, one after the other, so that what disturbs one disturbs all; a ratio is taken inside a repeat.

Beside each loop stand its GFLOP/s, forward and backward, and their share of what the machine reaches in a convolution
of that precision, 3x3 from 512 to 512 channels, forward, which takes its turn in every repeat. A plain matrix product
would be no such limit: on processors from AMD it goes through a library that is not made for them.
"""

import argparse
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import engine, records, stacked
from helpers.baselines.cae import CAE
from helpers.baselines.deep_svdd import contrast, mnist_lenet


class LeNet(nn.Module):
    """One-class Deep SVDD with the LeNet for 28x28: contrast normalised, mean squared distance to a centre."""

    optimizer = staticmethod(lambda parameters: torch.optim.Adam(parameters, lr=1e-4, weight_decay=5e-7))
    transform = transforms.Compose([transforms.ToTensor(), lambda x: contrast(x[None])[0]])

    def __init__(self):
        super().__init__()
        self.encoder, _ = mnist_lenet()
        self.register_buffer("c", torch.full((32,), 0.1))

    def prepare(self, images):
        return contrast(images.float() / 255)

    def loss(self, batch):
        return (self.encoder(batch.x) - self.c).square().sum(1).mean()

    def players(self):
        return [engine.Player(self.loss, self.parameters(), self.optimizer)]

    def score(self, x):
        return (self.encoder(x) - self.c).square().sum(1)


class Cae(CAE):
    """The CAE of IAEAD at 32x32, 2.85 million weights, with E3Outlier's Adam."""

    optimizer = staticmethod(lambda parameters: torch.optim.Adam(parameters, lr=1e-3, eps=1e-7, weight_decay=5e-4))
    transform = transforms.Compose([transforms.Pad(2), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])

    def __init__(self):
        super().__init__(preset="e3")

    def players(self):
        return [engine.Player(self.loss, self.parameters(), self.optimizer)]


CASES = {"lenet": (LeNet, 200, 20), "cae": (Cae, 128, 8)}  # name: network, images and batches


class Pictures(Dataset):
    """MNIST as torchvision gives it: an array becomes a PIL image becomes a tensor, one at a time."""

    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(Image.fromarray(self.images[i].numpy())), 0


def conventional(method, task, batch_size, device, workers):
    loader = DataLoader(Pictures(task.train[:, 0], method.transform), batch_size, shuffle=True, drop_last=True,
                        num_workers=workers, persistent_workers=workers > 0)  # fmt: skip
    optimizer = method.optimizer(method.parameters())

    def epoch():
        total = 0.0
        for x, y in loader:
            loss = method.loss(engine.Batch(x.to(device), y, None))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(loader)

    return epoch


def bare(method, task, batch_size, device):
    x = engine.prepare(method, task.train.to(device))
    optimizer = method.optimizer(method.parameters())

    def epoch():
        for batch in x.split(batch_size):
            optimizer.zero_grad()
            method.loss(engine.Batch(batch, None, None)).backward()
            optimizer.step()

    return epoch


def loops(kind, task, batch_size, device, options):
    """Return {name: (a function that trains one epoch, models at once)}."""
    made = {name: kind().to(device) for name in ("conventional", "bare", "bare, channels-last", "engine")}
    made["bare, channels-last"].to(memory_format=torch.channels_last)
    result = {
        "conventional": (conventional(made["conventional"], task, batch_size, device, options.loaders), 1),
        "bare": (bare(made["bare"], task, batch_size, device), 1),
        "bare, channels-last": (bare(made["bare, channels-last"], task, batch_size, device), 1),
        "engine": (lambda: engine.fit(made["engine"], task, 1, batch_size, device=device), 1),
    }
    if options.bf16:
        low = kind()
        result["engine, bf16"] = (lambda: engine.fit(low, task, 1, batch_size, device=device, precision="bf16"), 1)
    if options.compiled:
        fast = kind()
        result["engine, compiled"] = (
            lambda: engine.fit(fast, task, 1, batch_size, device=device, compiled=True), 1)  # fmt: skip
    if options.stack:
        many = [kind() for _ in range(options.stack)]
        tasks = [task] * options.stack
        result[f"stacked, {options.stack} models"] = (
            lambda: stacked.fit_many(many, tasks, 1, batch_size, device=device), options.stack)  # fmt: skip
    return result


def operations(kind, images):
    """Return the floating-point operations an image of a network's loss, forward and backward, without optimiser."""
    method = kind()
    with FlopCounterMode(display=False) as counter:
        method.loss(engine.Batch(engine.prepare(method, images), None, None)).backward()
    return counter.get_total_flops() / len(images)


def convolutions(device, options):
    """Return {name: (a function that convolves, 1)} as `loops` does, and the operations of one call."""
    n, calls = (256, 20) if device.type == "cuda" else (8, 3)

    def convolution(dtype):
        where = dict(device=device, dtype=dtype)
        layer = nn.Conv2d(512, 512, 3, padding=1, bias=False, **where).to(memory_format=torch.channels_last)
        x = torch.rand(n, 512, 16, 16, **where).to(memory_format=torch.channels_last)

        @torch.no_grad()
        def several():
            for _ in range(calls):
                layer(x)

        return several, 1

    names = {"convolution": torch.float32} | ({"convolution, bf16": torch.bfloat16} if options.bf16 else {})
    return {name: convolution(dtype) for name, dtype in names.items()}, calls * 2 * n * 16 * 16 * 512 * 512 * 9


def measure(functions, repeats, clock, device):
    """Return {name: seconds of every repeat}, after two that warm up and compile."""
    seconds = {name: [] for name in functions}
    for _ in range(repeats + 2):
        for name, (epoch, _) in functions.items():
            begin = clock()
            epoch()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(clock() - begin)
    return {name: np.array(values[2:]) for name, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default=engine.default_device())
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--loaders", type=int, default=0, help="worker processes of the DataLoader")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--stack", type=int, default=0, help="also train so many models at once")
    parser.add_argument("--bf16", action="store_true", help="also train the engine with bf16 autocast")
    parser.add_argument("--compiled", action="store_true", help="also train the engine with compiled losses")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # for all loops alike
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    print(f"{records.device_name(device)}, {options.threads} threads, torch {torch.__version__}, {options.clock} time, "
          f"median (lowest to highest) of {options.repeats} repeats")  # fmt: skip
    for name, (kind, batch_size, batches) in CASES.items():
        torch.manual_seed(0)
        n = batch_size * batches
        images = torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8)
        task = SimpleNamespace(train=images, train_y=torch.zeros(n, dtype=torch.int64))
        functions = loops(kind, task, batch_size, device, options)
        limits, work = convolutions(device, options)
        seconds = measure(functions | limits, options.repeats, clock, device)
        limit = {name: work / seconds[name] / 1e9 for name in limits}  # GFLOP/s
        each = operations(kind, images[:4]) / 1e9
        print(f"\n{name}: {n} images of 28x28 an epoch, batches of {batch_size}, {1e3 * each:.1f} MFLOP an image")
        print("; ".join(f"{name} {spread(values, 0)} GFLOP/s" for name, values in limit.items()))
        columns = "images/s", "x conventional", "x bare", "x engine", "GFLOP/s", "% of convolution"
        print(f"{'':21}" + "".join(f"{column:>24}" for column in columns))
        for loop, (_, models) in functions.items():
            rate = n * models / seconds[loop]
            ratios = [rate * seconds[other] / n for other in ("conventional", "bare", "engine")]
            share = 100 * rate * each / limit["convolution, bf16" if "bf16" in loop else "convolution"]
            cells = [spread(rate, 0), *(spread(ratio, 2) for ratio in ratios), spread(rate * each, 1), spread(share, 0)]
            print(f"{loop:21}" + "".join(f"{cell:>24}" for cell in cells))


def spread(values, digits):
    return f"{np.median(values):.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


if __name__ == "__main__":
    main()
