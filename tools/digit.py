"""Train the three small nets of the digit that readers draw, and write them with their record to data/play/digit.json.

    python tools/digit.py --data-root DATA_ROOT

They are the CAE, VAE and AAE of the chapter on autoencoders, with fewer channels, so that a page can carry them:
weights of 8 bits, with a scale for each channel that leaves a layer.
"""

import argparse
import base64
import sys
import time

import numpy as np
import torch
from torch import nn

from helpers import chapter, engine, images, metrics, protocols, records
from helpers.files import whole
from helpers.play.digit import STORED
from helpers.runs import seeded

CHAPTER, NORMAL, EPOCHS, BATCH_SIZE, SEED = "comparing-autoencoders", "1", 20, 64, 0
WIDTHS, DENSE = (8, 16, 32, 32, 8), 64  # the paper's are 16, 32, 64, 64, 16 and 100


def small_methods():
    """Return the chapter's three classes, {name: class}, with fewer channels in Table 1 and a smaller r in Table 3."""
    defined = chapter.definitions(CHAPTER, module="small methods")
    conv, deconv = defined["conv"], defined["deconv"]
    a, b, c, d, e = WIDTHS

    def table_1(channels):
        """As the chapter's, (channels, 28, 28) -> 16 e -> (channels, 28, 28)."""
        encoder = nn.Sequential(conv(channels, a), nn.MaxPool2d(2), conv(a, b), nn.MaxPool2d(2), conv(b, c),
                                conv(c, d, stride=2), conv(d, e), nn.Flatten())  # fmt: skip
        decoder = nn.Sequential(nn.Unflatten(1, (e, 4, 4)), deconv(e, d), deconv(d, c, 2), deconv(c, b, 2, 1),
                                deconv(b, a, 2, 1), nn.ConvTranspose2d(a, channels, 3, padding=1),
                                nn.Sigmoid())  # fmt: skip
        return encoder, decoder, 16 * e

    defined.update(table_1=table_1, r=DENSE)  # the classes look these names up when they build their layers
    return {name: defined[name] for name in ("CAE", "VAE", "AAE")}


def layers_of(model):
    """Return the layers that an image goes through to be redrawn, in order."""
    parts = (model.encoder, model.lin1, model.lin2, model.lin34, model.decoder)
    return [layer for part in parts for layer in part.modules() if not isinstance(layer, nn.Sequential)]


@torch.no_grad()
def to_8_bits(layer):
    """Round a layer's weights to 8 bits, with a scale for each output, and return (whole numbers, scales)."""
    out = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    weight = layer.weight.contiguous()
    axes = [axis for axis in range(weight.ndim) if axis != out]
    scale = weight.abs().amax(axes, keepdim=True) / 127
    levels = torch.round(weight / scale).to(torch.int8)
    layer.weight.copy_(levels * scale)
    return levels.numpy(), scale.flatten().tolist()


def stored(layer):
    """Return a layer as JSON can hold it, after rounding its weights; None for one that only changes the shape."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        levels, scale = to_8_bits(layer)
        kind = {nn.Conv2d: "conv", nn.ConvTranspose2d: "deconv", nn.Linear: "linear"}[type(layer)]
        facts = {"kind": kind, "shape": levels.shape, "scale": scale, "bias": layer.bias.tolist(),
                 "weight": base64.b64encode(levels.tobytes()).decode()}  # fmt: skip
        if kind != "linear":
            facts |= {"stride": layer.stride[0]}
        return facts | ({"extra": layer.output_padding[0]} if kind == "deconv" else {})
    if isinstance(layer, nn.Unflatten):
        return {"kind": "reshape", "shape": layer.unflattened_size}
    simple = {nn.LeakyReLU: "leaky", nn.MaxPool2d: "pool", nn.Sigmoid: "sigmoid"}
    return {"kind": simple[type(layer)]} if type(layer) in simple else None


def trained(method, task):
    """Return one of the methods, trained on a task by the processor."""
    with seeded(SEED):
        model = method(1, 28)
    engine.fit(model, task, EPOCHS, BATCH_SIZE, SEED, device="cpu")
    return model


def made(data):
    """Return what the page needs: the nets, ten examples with their redrawings, and the record of the training."""
    task, began = protocols.one_normal(data, NORMAL), time.monotonic()
    anomalous = task.anomalous.numpy()
    examples = torch.stack([task.test[task.test_y == k][0] for k in range(10)])
    nets, redrawn, errors, lines, normal = {}, {}, {}, [], {}
    for name, method in small_methods().items():
        model = trained(method, task)
        before = metrics.auroc(anomalous, engine.score(model, task.test))
        nets[name] = [layer for layer in map(stored, layers_of(model)) if layer]  # from here on it has 8 bits
        scores = engine.score(model, task.test)
        lines.append({"method": name, "auroc": metrics.auroc(anomalous, scores), "auroc_32_bits": before})
        normal[name] = np.quantile(scores[~anomalous], np.linspace(0, 1, 101))
        redrawn[name] = packed(engine.each_image(model, examples, model) * 255)
        errors[name] = engine.score(model, examples)
    settings = {"channels": WIDTHS, "dense": DENSE, "bits": 8, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "seed": SEED}
    record = {"config": {"protocol": task.protocol, "data": data.digest, "train": len(task.train), **settings},
              "metrics": lines, "provenance": records.provenance("cpu", time.monotonic() - began)}  # fmt: skip
    return {"nets": nets, "errors_of_normal": normal, "record": record,
            "examples": {"pictures": packed(examples), "redrawn": redrawn, "errors": errors}}  # fmt: skip


def packed(pictures):
    """Return pictures with values from 0 to 255 as text: a byte a pixel, in base 64."""
    return base64.b64encode(np.rint(np.asarray(pictures)).astype(np.uint8).tobytes()).decode()


def main(argv=None):
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--data-root", help="folder with MNIST; default: DATA_ROOT, then data/cache")
    try:
        data = images.load_once("mnist", parser.parse_args(argv).data_root)
    except (ValueError, OSError) as error:
        sys.exit(f"digit: {error}")
    facts = made(data)
    with whole(STORED) as file:
        file.write(records.to_text(records.rounded(facts, 8)).encode())
    print(f"{STORED}: {facts['record']['metrics']}")


if __name__ == "__main__":
    main()
