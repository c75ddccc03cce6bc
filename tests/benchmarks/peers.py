"""Compare PatchCore and PaDiM with the ones of anomalib, on the same features of the same pictures.

    python -m pip install anomalib
    python tests/benchmarks/peers.py --share 0.01
    python tests/benchmarks/peers.py --dataset mvtec:bottle --product bottle

anomalib is no dependency of the book. Its frozen network is left out: both sides read what `helpers.features` saw, so
that a difference is one of method. With the same memory the scores of PatchCore have to be the same, with equation 7
and without, and with the same channels the distances of PaDiM. Each side then chooses its own memory, and AUROC and
seconds stand beside each other; for a tenth of the patches, the default, anomalib takes minutes.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import engine, features, images, metrics, protocols  # noqa: E402
from helpers.baselines.padim import PaDiM  # noqa: E402
from helpers.baselines.patchcore import PatchCore  # noqa: E402
from helpers.features.patches import rows  # noqa: E402

try:
    from anomalib.models.components import KCenterGreedy, MultiVariateGaussian
    from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
except ImportError as error:
    sys.exit(f"peers: anomalib is needed, `python -m pip install anomalib` ({error}).")


def fitted(method, task):
    """Return the method fitted to the task, and the seconds that it took."""
    torch.manual_seed(0)
    begin = time.perf_counter()
    engine.fit(method, task, 0, device="cpu")
    return method, time.perf_counter() - begin


def peer_scores(peer, x, neighbours):
    """The scores of anomalib's PatchCore for maps x (B, C, h, w)."""
    embedding = rows(x)
    distances, nearest = peer.nearest_neighbors(embedding, 1)
    peer.num_neighbors = neighbours
    return peer.compute_anomaly_score(distances.reshape(len(x), -1), nearest.reshape(len(x), -1), embedding)


def largest_difference(ours, theirs):
    """The largest difference, as a share of the largest value."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def patchcore(task, share):
    x = task.test.float()
    ours, seconds = fitted(PatchCore(share), task)
    peer = PatchcoreModel(layers=["layer2"], backbone="resnet18", pre_trained=False)
    peer.memory_bank = ours.memory
    for neighbours in (1, 9):
        ours.neighbours = neighbours * (neighbours > 1)
        gap = largest_difference(ours.score(x), peer_scores(peer, x, neighbours))
        print(f"PatchCore, same memory, {neighbours} neighbours: scores differ by {gap:.1e} at most")
    begin = time.perf_counter()
    peer.memory_bank = KCenterGreedy(rows(task.train.float()), share).sample_coreset()
    peer_seconds = time.perf_counter() - begin
    area, peer_area = (metrics.auroc(task.anomalous, scores)
                       for scores in (ours.score(x), peer_scores(peer, x, 9)))  # fmt: skip
    print(f"PatchCore, own memories of {len(ours.memory):,} patches, 9 neighbours: AUROC {area:.4f}, anomalib "
          f"{peer_area:.4f}; chosen in {seconds:.1f} s, anomalib {peer_seconds:.1f} s")  # fmt: skip


def padim(task):
    ours, seconds = fitted(PaDiM(), task)
    begin = time.perf_counter()
    stats = MultiVariateGaussian().fit(task.train[:, ours.channels].float())
    peer_seconds = time.perf_counter() - begin
    x = task.test.float()
    theirs = AnomalyMapGenerator.compute_distance(x[:, ours.channels], stats)[:, 0]
    gap = largest_difference(ours.distances(x), theirs)
    print(f"PaDiM: distances differ by {gap:.1e} at most; fitted in {seconds:.1f} s, anomalib {peer_seconds:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="parts:0")
    parser.add_argument("--product", default="screw")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--crop", type=int, default=112, help="pixels that the frozen network sees; 224 in the papers")
    options = parser.parse_args()
    size = options.crop * 8 // 7
    pictures = protocols.train_on_good(images.load_once(options.dataset, None, False, size), [options.product])
    seen = dict(size=size, crop=options.crop)
    with torch.inference_mode():
        patchcore(features.of_task(pictures, kind="patches", average=3, **seen), options.share)
        padim(features.of_task(pictures, kind="patches", stages=(2, 3, 5), **seen))
