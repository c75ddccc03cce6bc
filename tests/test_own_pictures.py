"""A reader's own pictures: every layout and file that people have, the threshold's promise, the saved detector."""

import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats

from helpers import detector, features, figures, files, report, thresholds
from helpers.baselines.patchcore import PatchCore
from helpers.images import decoding, own, parts
from helpers.images.layouts import Place, own_place
from tools import score


def draw(path, seed=0, size=(60, 40), mode="RGB"):
    """Write a picture of smooth noise, another for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(60, 200, (5, 5, 3), np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)
    return path


def flat(folder, count=6):
    for i in range(count):
        draw(folder / f"IMG_{i:04d}.jpg", i)
    return folder


# -- layouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "expected"), [
    ("train/good/a.png", ("mine", "train", "good", "a.png")),
    ("train/good/2024-05/a.png", ("mine", "train", "good", "2024-05/a.png")),
    ("train/a.png", ("mine", "train", "good", "a.png")),
    ("train/crack/a.png", None),
    ("test/crack/b/a.png", ("mine", "test", "crack", "b/a.png")),
    ("test/a.png", ("mine", "test", "unknown", "a.png")),
    ("ground_truth/crack/a_mask.png", ("mine", "ground_truth", "crack", "a_mask.png")),
    ("good/a.png", ("mine", "train", "good", "a.png")),
    ("bad/a.png", ("mine", "test", "bad", "a.png")),
    ("bad/crack/a.png", ("mine", "test", "crack", "a.png")),
    ("score/monday/a.png", ("mine", "test", "unknown", "monday/a.png")),
    ("bolt/good/a.png", ("bolt", "train", "good", "a.png")),
    ("bolt/score/a.png", ("bolt", "test", "unknown", "a.png")),
    ("line 2/bolt/train/good/a.png", ("line 2/bolt", "train", "good", "a.png")),
    ("bolt/test/good/good/a.png", ("bolt", "test", "good", "good/a.png")),
    ("a.png", None),
    ("bolt/a.png", None),
    ("Good/a.png", ("mine", "train", "good", "a.png")),
    ("Bolt/BAD/Crack/a.png", ("Bolt", "test", "Crack", "a.png")),
    ("Test/Good/a.png", ("mine", "test", "good", "a.png")),
    ("Test/Unknown/a.png", ("mine", "test", "unknown", "a.png")),
])  # fmt: skip
def test_the_first_folder_that_says_something_places_a_file(name, expected):
    assert own_place(name, "mine") == (expected and Place(*expected))


def test_products_in_folders_of_their_own_are_not_merged(tmp_path):
    for product in ("bolt", "nut"):
        draw(tmp_path / product / "good" / "a.png")
        draw(tmp_path / product / "score" / "a.png")
    seen = own.look(tmp_path, size=16)
    assert Counter((one.product, one.part) for one in seen.pictures) == Counter(
        {(product, part): 1 for product in ("bolt", "nut") for part in ("train", "test")})  # fmt: skip


def test_unknown_pictures_leave_the_labels_of_the_others(tmp_path):
    for place in ("train/good", "test/good", "test/crack", "score"):
        draw(tmp_path / place / "a.png")
    assert sorted(one.kind for one in own.look(tmp_path, 16).pictures) == ["crack", "good", "good", "unknown"]


def test_a_folder_that_says_nothing_is_one_product_and_may_be_nested(tmp_path):
    flat(tmp_path / "2024" / "may", 2)
    flat(tmp_path, 3)
    found = own.look(tmp_path, 16)
    assert {(one.product, one.part, one.kind) for one in found.pictures} == {(tmp_path.name, "all", "unknown")}
    assert len(found.pictures) == 5 and found.passed_over == []
    assert "5 in no folder named good, bad, score, train or test" in "\n".join(own.described(found))


# -- files ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_named_with_the_reason(tmp_path):
    flat(tmp_path / "good", 3)
    (tmp_path / "good" / "notes.txt").write_text("mine")
    (tmp_path / "good" / "empty.jpg").touch()
    whole = (tmp_path / "good" / "IMG_0000.jpg").read_bytes()
    (tmp_path / "good" / "half.jpg").write_bytes(whole[:len(whole) // 2])
    draw(tmp_path / "elsewhere" / "a.png")
    with files.renewed(tmp_path / "good", ["overlay-001.jpg"]) as folder:  # beside the pictures
        draw(folder / "overlay-001.jpg")
    found = own.look(tmp_path, 16)
    assert [one.file for one in found.pictures] == [f"good/IMG_000{i}.jpg" for i in range(3)]
    assert sorted(found.passed_over) == [
        "elsewhere/a.png (lies in none of the folders train, test, ground_truth, good, bad, score)",
        "good/empty.jpg (is empty)", "good/half.jpg (is damaged or truncated)", "good/notes.txt (is not a picture)",
        f"good/{files.MANIFEST} and what it names (were written by this book)"]  # fmt: skip
    assert "Passed over: " in own.described(found)[-1]


def test_pictures_of_twelve_bits_are_seen_as_such(tmp_path):
    ramp = np.linspace(0, 4095, 40 * 40).reshape(40, 40).astype(np.uint16)
    (tmp_path / "good").mkdir()
    Image.fromarray(ramp).save(tmp_path / "good" / "a.png")
    Image.fromarray(ramp // 2).save(tmp_path / "good" / "b.png")
    found = own.look(tmp_path, 40)
    assert found.how["white"] == 4095 and "12" in "\n".join(own.described(found))
    assert [int(one.squares.max()) for one in found.pictures] == [255, 127]
    for white, also in ((65535, []), (16383, []), (4095, [ramp * 16])):  # what a saved detector was fitted to
        for name, values in zip("cd", also):
            Image.fromarray(values).save(tmp_path / "good" / f"{name}.png")
        with pytest.raises(ValueError, match=f"uses 1[26] bits, but {white} counts as white for this detector"):
            own.look(tmp_path, 40, white=white)
    Image.fromarray(ramp.astype(np.int32) << 8).save(tmp_path / "good" / "e.tif")  # passed over, so it decides nothing
    assert "e.tif (has more than 16 bits" in "\n".join(own.look(tmp_path, 40).passed_over)
    with pytest.raises(decoding.BrokenPicture, match="uses at most 12 of its 16 bits"):
        decoding.picture((tmp_path / "good" / "a.png").read_bytes(), 40)


@pytest.mark.parametrize("mark", [1, 3, 255])
def test_masks_of_small_numbers_are_not_empty(mark):
    values = np.zeros((40, 40), np.uint8)
    values[10:20, 10:30] = mark
    Image.fromarray(values).save(raw := io.BytesIO(), "PNG")
    assert np.array_equal(decoding.mask(raw.getvalue(), 40)[0], values > 0)


def test_a_mask_belongs_to_the_picture_of_its_name_in_nested_folders_too(tmp_path):
    draw(tmp_path / "train/good/a.png")
    draw(tmp_path / "test/crack/may/a.jpg")
    draw(tmp_path / "test/crack/june/a.jpg")
    values = np.zeros((40, 60), np.uint8)
    values[:20] = 1
    path = tmp_path / "ground_truth/crack/may/a_mask.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(values).save(path)
    masks = {one.file: one.mask for one in own.look(tmp_path, 16).pictures}
    assert masks["test/crack/june/a.jpg"] is None and masks["test/crack/may/a.jpg"].mean() == 0.5


@pytest.mark.parametrize(("shape", "tiles", "boxes"), [
    ("squeeze", 1, [(0, 0, 1, 1)]),
    ("pad", 1, [(0, -0.25, 1, 1.25)]),
    ("tile", 1, [(0, 0, 2 / 3, 1), (1 / 3, 0, 1, 1)]),
    ("tile", 2, [(k / 3, j / 2, (k + 1) / 3, (j + 1) / 2) for j in range(2) for k in range(3)]),
])  # fmt: skip
def test_squares_cover_a_picture(tmp_path, shape, tiles, boxes):
    draw(tmp_path / "a.png", size=(60, 40))
    (picture,) = own.look(tmp_path, 24, shape, tiles).pictures
    assert picture.squares.shape == (len(boxes), 3, 24, 24) and picture.size == (60, 40)
    assert np.allclose(picture.boxes, boxes)
    x = np.linspace(0, 1, 24)
    ramps = [np.add.outer(top + (bottom - top) * x, left + (right - left) * x) for left, top, right, bottom in boxes]
    heat = detector.whole(np.array(ramps), picture.boxes, 24)  # what a square shows at a place is put back there
    centres = (np.arange(24) + 0.5) / 24
    assert np.abs(heat - np.add.outer(centres, centres)).max() < 0.15


def test_where_squares_overlap_the_largest_value_counts():
    maps = np.stack([np.full((4, 4), 5.0), np.full((4, 4), 1.0)])
    heat = detector.whole(maps, [(0, 0, 2 / 3, 1), (1 / 3, 0, 1, 1)], 24)
    assert heat[0].tolist() == [5.0] * 16 + [1.0] * 8


def test_too_many_squares_are_refused(tmp_path):
    draw(tmp_path / "a.png", size=(4000, 10))
    with pytest.raises(ValueError, match="would take 400 squares, more than 64; take fewer tiles, or pad"):
        own.look(tmp_path, 24, "tile")


@pytest.mark.parametrize(("make", "says"), [
    (lambda folder: folder / "nowhere", "There is no folder "),
    (lambda folder: folder, "holds no picture that can be used."),
    (lambda folder: (folder / "a.txt").write_text("x") and folder, r"no picture that can be used: a.txt \(is not a pi"),
])  # fmt: skip
def test_a_folder_without_pictures_is_named(tmp_path, make, says):
    with pytest.raises((ValueError, OSError), match=says):
        own.look(make(tmp_path))


# -- the threshold -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "rate", "rank"), [(99, 0.01, 1), (98, 0.01, 1), (199, 0.01, 2), (19, 0.05, 1),
                                                 (30, 0.1, 3), (9, 0.5, 5), (1, 0.2, 1), (99, 0.29, 29)])  # fmt: skip
def test_the_threshold_is_the_lowest_that_keeps_the_rate(n, rate, rank):
    held = np.random.default_rng(0).permutation(n).astype(float)
    found = thresholds.for_false_alarms(held, rate)
    assert (found.value, found.rank, found.n) == (n - rank, rank, n)
    assert found.rate == pytest.approx(rank / (n + 1)) and (found.rate <= rate + 1e-9 or rank == 1)
    assert (held > found.value).sum() == rank - 1


def test_the_promise_holds_for_scores_that_are_drawn_alike():
    random = np.random.default_rng(0)
    rates = []
    for _ in range(2000):
        found = thresholds.for_false_alarms(random.normal(size=30), 0.1)
        rates.append(stats.norm.sf(found.value))
    assert np.mean(rates) == pytest.approx(found.rate, abs=0.005)
    assert np.mean([found.low <= rate <= found.high for rate in rates]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("rate", [0, 1, 1.2, -0.1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="must be above 0 and below 1"):
        thresholds.for_false_alarms([1.0, 2.0], rate)


# -- the detector --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    """Two generated products in MVTec AD's layout, with masks."""
    folder = tmp_path_factory.mktemp("own") / "factory"
    own.save(parts.make(64, train=8, good=4, defects=2), folder, ("brushed_metal", "washer"))
    return folder


@pytest.fixture(scope="module")
def fitted(factory):
    found = own.look(factory, 64)
    return found, *detector.fit(found, false_alarms=0.2)


def test_a_detector_finds_generated_damage(fitted):
    found, model, held = fitted
    judged = detector.judge(model, found)
    products, defects = detector.qualities(judged, found)
    assert products["product"].tolist() == ["brushed_metal", "washer"] and products.AUROC.min() > 0.9
    assert products.AUPRO.min() > 0.7 and (products.good == 4).all() and products.defective.tolist() == [8, 10]
    assert set(defects.defect) >= {"dent", "missing_key"} and (defects.pictures == 2).all()
    assert (judged.lines.verdict == "flagged").equals(judged.lines.score > judged.lines.threshold)
    assert judged.lines.ratio.is_monotonic_decreasing
    assert len(held.lines) == 16 and set(held.lines.kind) == {"good"}
    assert (held.lines.verdict == "flagged").sum() == 0  # of 8, the largest is the threshold
    assert held.held_out and not any(map(len, detector.qualities(held, found)))  # no test of the detector


def test_no_part_is_scored_by_a_method_that_has_seen_it_and_neighbours_stay_together(monkeypatch):
    fits = []
    monkeypatch.setattr(detector, "_fitted", lambda config, some, device: fits.append(set(some)) or fits[-1])
    monkeypatch.setattr(detector, "_scored", lambda known, x: (x in known, None))
    assert not any(known for known, _ in detector.held_out({}, list(range(12))))
    assert [sorted(set(range(12)) - known) for known in fits] == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9], [10, 11]]


def test_held_out_scores_come_from_a_method_that_has_not_seen_the_picture(fitted):
    found, model, held = fitted
    scores = dict(zip(held.lines.file, held.lines.score))
    seen = [one for one in found.pictures if one.part == "train" and one.product == "washer"]
    config = model.config
    read = detector.reader(config)
    alone = detector.held_out(config, [read(one.squares) for one in seen])
    assert [score for score, _ in alone] == [scores[one.file] for one in seen]
    own_scores = detector.judge(model, own.Folder(found.path, seen, [], found.how)).lines.score
    assert own_scores.mean() < np.mean([score for score, _ in alone])  # what it remembers looks better


@pytest.mark.parametrize("method", detector.METHODS)
def test_every_method_comes_back_from_its_file_to_the_bit(method, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(detector, "EPOCHS", {"CAE": 2})
    found, model, _ = fitted
    if method != "PatchCore":
        washers = [one for one in found.pictures if one.product == "washer"]
        found = own.Folder(found.path, washers, [], found.how)
        model, _ = detector.fit(found, method, 0.2)
    detector.save(model, tmp_path / "detector.pt")
    again = detector.load(tmp_path / "detector.pt")
    before, after = (detector.judge(one, found) for one in (model, again))
    pd.testing.assert_frame_equal(before.lines, after.lines, check_exact=True)
    assert again.config == {name: value for name, value in model.config.items()}
    assert [part.threshold for part in again.parts.values()] == [part.threshold for part in model.parts.values()]
    assert before.heats.keys() == after.heats.keys()
    assert all(np.array_equal(heat, after.heats[file]) for file, heat in before.heats.items())


def test_the_score_of_a_picture_does_not_depend_on_its_company(fitted):
    found, model, _ = fitted
    together = detector.judge(model, found).lines.set_index("file").score
    one = next(one for one in found.pictures if one.kind == "chip")
    alone = detector.judge(model, own.Folder(found.path, [one], [], found.how)).lines
    assert alone.score.item() == together[one.file]


def test_of_many_pictures_evenly_spread_ones_are_learned(monkeypatch):
    monkeypatch.setattr(detector, "MOST", 3)
    seen = [torch.full((1, 3, 64, 64), k, dtype=torch.uint8) for k in (0, 50, 50, 90, 50, 50, 210)]
    method = detector._fitted({"method": "distance to mean image", "size": 64}, seen, "cpu")
    assert method.mean.mean().item() == pytest.approx(100 / 255, abs=1e-6)


def test_a_memory_has_so_many_features_at_most(monkeypatch):
    monkeypatch.setattr(detector, "REMEMBERED", 20)
    seen = [torch.randn(1, 6, 8, 8).half() for _ in range(5)]
    assert len(detector._fitted({"method": "PatchCore", "size": 64}, seen, "cpu").memory) == 20


def test_a_heat_begins_where_good_pictures_usually_end():
    scored = [(0.0, np.array([[1.0, 4.0]])), (0.0, np.array([[2.0]])), (0.0, np.array([[6.0]]))]
    assert detector._limits(scored) == (4.0, 8.0)
    ax = figures.overlay(np.zeros((3, 8, 8), np.uint8), np.full((8, 8), 3.0), limits=(2.0, 4.0))
    assert np.asarray(ax.images[1].get_array()) == pytest.approx(0.5)


def test_a_score_that_is_no_number_is_an_error_and_no_verdict(fitted, monkeypatch):
    found, model, _ = fitted
    monkeypatch.setattr(PatchCore, "score", lambda self, x: torch.full((len(x),), float("nan")))
    with pytest.raises(ValueError, match="A score is not finite"):
        detector.judge(model, found)


def test_a_detector_of_other_features_is_refused(fitted, tmp_path, monkeypatch):
    detector.save(fitted[1], tmp_path / "detector.pt")
    monkeypatch.setattr(features.tasks, "VERSION", features.tasks.VERSION + 1)
    with pytest.raises(ValueError, match="features that this version of the book does not make; fit again"):
        detector.load(tmp_path / "detector.pt")


@pytest.mark.parametrize("damage", ["cut", "rubbish", "empty", "other", "lacks"])
def test_a_file_that_is_no_detector_is_refused_in_one_sentence(damage, fitted, tmp_path):
    path = tmp_path / "detector.pt"
    detector.save(fitted[1], path)
    raw = path.read_bytes()
    kept = torch.load(path, weights_only=True)
    if damage in ("other", "lacks"):
        kept["products"]["washer"].pop("state")
        torch.save({"weights": torch.ones(3)} if damage == "other" else kept, path)
    else:
        path.write_bytes({"cut": raw[:len(raw) // 2], "rubbish": b"x" * 999, "empty": b""}[damage])
    with pytest.raises(ValueError, match=rf"^{path} is (damaged|no detector)") as refused:
        detector.load(path)
    assert "\n" not in str(refused.value)


def test_no_flipped_bit_of_a_file_changes_what_is_remembered(fitted, tmp_path):
    path, model = tmp_path / "detector.pt", fitted[1]
    detector.save(model, path)
    raw, refused = path.read_bytes(), 0
    for place in np.random.default_rng(0).choice(len(raw), 12, replace=False):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1:])
        try:
            again = detector.load(path)
        except ValueError:
            refused += 1
        else:
            for name, part in again.parts.items():
                assert torch.equal(part.method.memory, model.parts[name].method.memory)
    assert refused > 6


@pytest.mark.parametrize("count", [2, 5])
def test_very_few_pictures_are_enough_and_promise_little(count, tmp_path):
    found = own.look(flat(tmp_path / "few", count), 64)
    model, held = detector.fit(found, false_alarms=0.01)
    part = model.parts["few"]
    assert len(held.lines) == part.threshold.n == count and part.threshold.rate == pytest.approx(1 / (count + 1))
    assert part.threshold.value == held.lines.score.max()
    (note,) = report.notes(model)
    assert "1.0% false alarms takes 99 good pictures" in note


@pytest.mark.parametrize(("method", "folders", "says"), [
    ("PatchCore", {"good": 1}, "has too few good pictures to learn from: 1, and PatchCore needs 2"),
    ("PaDiM", {"good": 2}, "has too few good pictures to learn from: 2, and PaDiM needs 3"),
    ("PatchCore", {"bolt/good": 3, "nut/score": 2}, "nut has pictures to judge, such as .*: put such into nut/good, or "
     "the others into their product's folder, such as bolt/score"),
    ("PatchCore", {"score": 2}, "has too few good pictures to learn from: 0"),
    ("GANomaly", {"good": 3}, "no method 'GANomaly' for own pictures; possible are PatchCore"),
])  # fmt: skip
def test_what_cannot_be_fitted_is_said_in_one_sentence(method, folders, says, tmp_path):
    for folder, count in folders.items():
        flat(tmp_path / folder, count)
    with pytest.raises(ValueError, match=says):
        detector.fit(own.look(tmp_path, 64), method)


def test_known_defects_without_good_pictures_are_counted(tmp_path):
    flat(tmp_path / "good", 5)
    for i in range(3):
        Image.effect_noise((60, 40), 200).convert("RGB").save(draw(tmp_path / "bad" / "dirt" / f"{i}.png"))
    found = own.look(tmp_path, 64)
    judged = detector.judge(detector.fit(found)[0], found)
    products, defects = detector.qualities(judged, found)
    assert products.to_dict("records")[0] | {"AUROC": 0, "AUPRO": 0} == {
        "product": tmp_path.name, "good": 0, "false alarms": 0, "defective": 3, "found": 3, "AUROC": 0, "AUPRO": 0}
    assert products[["AUROC", "AUPRO"]].isna().all(axis=None)
    assert defects.to_dict("records") == [{"product": tmp_path.name, "defect": "dirt", "pictures": 3, "found": 3}]


def test_products_that_a_detector_does_not_know_are_passed_over(fitted, tmp_path):
    found, model, _ = fitted
    flat(tmp_path / "washer", 2)
    flat(tmp_path / "gasket", 1)
    new = own.look(tmp_path, 64)
    assert detector.judge(model, new).lines["product"].tolist() == ["washer"] * 2
    assert new.passed_over == ["gasket/IMG_0000.jpg (lies in no folder named after a product of the detector)"]
    with pytest.raises(ValueError, match="knows the products brushed_metal, washer, and .* has no folder of such a"):
        detector.judge(model, own.look(tmp_path / "gasket", 64))


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(fitted, tmp_path_factory):
    """A folder with a detector, and new pictures beside it, one with a name that is HTML."""
    folder = tmp_path_factory.mktemp("command")
    detector.save(fitted[1], folder / "detector.pt")
    flat(folder / "new" / "washer", 3)
    draw(folder / "new" / "washer" / "<img src=x onerror=alert(1)>.png", 7, (200, 60))
    assert score.main([str(folder / "detector.pt"), str(folder / "new")]) == 0
    return folder


def test_the_command_writes_scores_overlays_and_one_page(scored):
    folder = scored / "scored-new"
    lines = pd.read_csv(folder / "scores.csv")
    assert lines.columns.tolist() == ["file", "product", "score", "threshold", "verdict"] and len(lines) == 4
    assert (lines.verdict == "flagged").all()  # noise is no washer
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["scores.csv", "report.html", files.MANIFEST, *[f"overlay-{k:03d}.jpg" for k in range(1, 5)]])
    sizes = {Image.open(path).size for path in folder.glob("*.jpg")}
    assert sizes == {(60, 40), (200, 60)}  # as the photographs are, not squares
    page = (folder / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "") and "<script" not in page
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;.png" in page
    assert page.count("data:image/jpeg") == 8 and page.count("data:image/svg+xml") == 1


def test_the_command_again_replaces_its_own_files_and_no_other(scored, capsys):
    folder = scored / "scored-new"
    (folder / "mine.txt").write_text("mine")
    capsys.readouterr()
    assert score.main([str(scored / "detector.pt"), str(scored / "new")]) == 0
    assert f"This replaces the results of an earlier call in {folder}." in capsys.readouterr().out
    (folder / "report.html").write_text("changed by me")
    capsys.readouterr()
    assert score.main([str(scored / "detector.pt"), str(scored / "new")]) == 1
    assert "is not, or no longer, what this book wrote" in capsys.readouterr().err
    assert (folder / "mine.txt").exists() and (folder / "report.html").read_text() == "changed by me"


@pytest.mark.parametrize(("arguments", "says"), [
    (["nowhere.pt", "new"], "nowhere.pt cannot be read"),
    (["detector.pt", "nowhere"], "There is no folder"),
    (["new/washer/IMG_0000.jpg", "new"], "no detector of this book"),
    (["detector.pt", "new", "--output", "."], "holds the detector; name another folder"),
])  # fmt: skip
def test_the_command_refuses_in_one_sentence(scored, arguments, says, capsys, monkeypatch):
    monkeypatch.chdir(scored)
    assert score.main(arguments) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert says in sentence and sentence.endswith(".")


def test_make_score_without_its_variables_says_what_it_needs(capsys):
    assert score.main(["", ""]) == 1  # as make calls it
    assert "write make score MODEL=detector.pt FOLDER=/new/pictures." in capsys.readouterr().err
