"""What the engine's two settings are worth, network by network: channels-last weights and Adam in one pass.

    python tests/benchmarks/layout.py                one training step of each network, milliseconds
    python tests/benchmarks/layout.py --clock cpu    processor time, on a machine that others use too

The networks of the chapters are read from the chapters. Every repeat runs all variants, one after the other.
"""

import argparse
import copy
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chapters import definitions

from helpers import records
from helpers.baselines.deep_svdd import mnist_lenet
from helpers.nets import decoder32, encoder32

# name: (weights channels-last, Adam's `fused`)
VARIANTS = {"PyTorch's own": (False, None), "channels-last": (True, None), "channels-last, fused Adam": (True, True)}


def networks():
    """Yield (name, an autoencoder, the shape of a batch)."""
    schneider, mixer = definitions("comparing-autoencoders"), definitions("mixer-autoencoder")
    yield "comparing, Table 1 (MNIST)", schneider.table_1(1)[:2], (128, 1, 28, 28)
    yield "comparing, Table 2 (CIFAR)", schneider.table_2(3)[:2], (128, 3, 32, 32)
    yield "Deep SVDD's LeNet", mnist_lenet(), (200, 1, 28, 28)
    yield "IAEAD's autoencoder", (encoder32(), decoder32()), (128, 1, 32, 32)
    yield "mixer, Table 1 at 64 pixels", mixer.table_1(64)[:2], (32, 3, 64, 64)
    yield "mixer, Table 2 at 32 pixels", mixer.table_2(32, 8)[:2], (32, 3, 32, 32)


def step_of(network, x, channels_last, fused):
    network = copy.deepcopy(network)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=fused)

    def step():
        optimizer.zero_grad()
        (network(x) - x).square().mean().backward()
        optimizer.step()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    print(f"{records.device_name('cpu')}, {options.threads} threads, torch {torch.__version__}, {options.clock} time, "
          f"median ms a step of {options.repeats} repeats")  # fmt: skip
    print(f"{'':28}" + "".join(f"{name:>28}" for name in VARIANTS))
    for name, parts, shape in networks():
        torch.manual_seed(0)
        x, network = torch.rand(shape), nn.Sequential(*parts)
        steps = [step_of(network, x, *variant) for variant in VARIANTS.values()]
        seconds = np.zeros((options.repeats + 1, len(steps)))
        for repeat in seconds:
            for k, step in enumerate(steps):
                begin = clock()
                step()
                repeat[k] = clock() - begin
        seconds = seconds[1:]  # the first one warms up
        middle, ratio = np.median(seconds, 0), np.median(seconds[:, :1] / seconds, 0)
        print(f"{name:28}" + "".join(f"{1e3 * m:19.1f} (x{r:.2f})" for m, r in zip(middle, ratio, strict=True)))


if __name__ == "__main__":
    main()
