"""How long each method of the chapter on pseudo-anomalies takes for a picture, from pixels to score, in one run.

    python tests/benchmarks/prediction.py --dataset mvtec:bottle --product bottle

The sizes are those of the tier paper: 64 pixels and a narrow network for methods on images unless --size and --width
say otherwise (the paper has 256), 224 pixels for the frozen network. Nothing is trained, since that changes no time;
memories and Gaussians are fitted. Times belong to a machine, so the ratios to ALGAN-image count.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers import chapter, engine, records, results  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="parts")
    parser.add_argument("--product", default="screw")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = {name: getattr(options, name) for name in ("dataset", "product", "size", "width")}
    cells = chapter.opened("pseudo-anomalies", {"tier": "paper", **given, "classes": [options.product],
                                                 "studies": ["7"]})
    ms = cells["prediction_times"]([*cells["ON_IMAGES"], *cells["ON_FEATURES"]], options.product, options.repeats)
    printed = results.paper("algan-table-5").set_index("method").value
    print(f"{records.device_name(engine.default_device())}, {options.threads} threads, {options.dataset}")
    print(f"{'':18}{'ms':>9}{'/ ALGAN-image':>15}{'paper':>8}")
    for name, value in ms.items():
        ratio = f"{printed[name] / printed['ALGAN-image']:.2f}" if name in printed else ""
        print(f"{name:18}{value:9.2f}{value / ms['ALGAN-image']:15.2f}{ratio:>8}")
