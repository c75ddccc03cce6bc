"""What an epoch of learned noise costs, beside the plain steps of its two players, side by side in one run.

    python tests/benchmarks/two_players.py --threads 1 --clock cpu

noise     the generator's step alone: forward through both networks, backward, Adam
denoise   the denoiser's step alone: noise without a graph, forward, backward, Adam
engine    helpers.engine.fit with both players

Every repeat runs all three; a ratio, engine / (noise + denoise), is taken inside a repeat. The goal is 1.15.
"""

import argparse
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import chapter, engine


def plain(model, k, images, batch_size):
    """An epoch of the k-th player, as a plain loop over prepared batches."""
    model.to(memory_format=torch.channels_last)
    x = engine.prepare(model, images)
    player = model.players()[k]
    parameters, optimizer = engine.make_optimizer(player)

    def epoch():
        for part in x.split(batch_size):
            optimizer.zero_grad()
            player.loss(engine.Batch(part, None, None)).backward(inputs=parameters)
            optimizer.step()

    return epoch


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--noise-width", type=int, default=32)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    make = chapter.definitions("adversarial-noise")["ALCN"]
    images = torch.randint(0, 256, (128 * options.batches, 1, 28, 28), dtype=torch.uint8)
    task = SimpleNamespace(train=images, train_y=torch.zeros(len(images), dtype=torch.long))
    noise, denoise, both = (make(noise_width=options.noise_width) for _ in range(3))
    epochs = {"noise": plain(noise, 0, images, 128), "denoise": plain(denoise, 1, images, 128),
              "engine": lambda: engine.fit(both, task, 1, 128, device="cpu")}  # fmt: skip
    seconds = {name: [] for name in epochs}
    for _ in range(options.repeats + 1):
        for name, epoch in epochs.items():
            begin = clock()
            epoch()
            seconds[name].append(clock() - begin)
    seconds = {name: np.array(values[1:]) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"{name:8} {1e3 * np.median(values) / options.batches:7.1f} ms a step")
    ratio = seconds["engine"] / (seconds["noise"] + seconds["denoise"])
    print(f"engine / (noise + denoise): {np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f}), goal 1.15")


if __name__ == "__main__":
    main()
