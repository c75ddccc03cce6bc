"""Industrial sets from folders and archives: the same tensors however packed, and clear words for everything odd."""

import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import images, protocols
from helpers.images import archives, decoding, industrial
from helpers.images.layouts import draw_train

REAL = Path(os.environ.get("DATA_ROOT", ""))
needs = {
    name: pytest.mark.skipif(not os.environ.get("DATA_ROOT") or not (REAL / path).exists(),
                             reason=f"DATA_ROOT has no {path}")
    for name, path in (("mvtec", "MVTecAD/screw.tar"), ("webp", "MVTecAD/transistor.tar"), ("mtd", "MTD"),
                       ("plant", "PlantVillage"))}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test; real data alone come from DATA_ROOT."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("helpers.images.cache.cache_folder", lambda: folder)
    monkeypatch.delenv("DATA_ROOT", raising=False)
    return folder


def draw(path, seed=0, side=20, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (side, side + 4, 3) if mode == "RGB" else (side, side + 4)
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))
    image.save(path, **options)
    return path


def product(folder, category="bottle", train=3, good=2, defects=("crack", "dirt")):
    """A category in MVTec AD's layout, where every mask is the upper left quarter."""
    for i in range(train):
        draw(folder / category / "train/good" / f"{i:03}.png", i)
    for i in range(good):
        draw(folder / category / "test/good" / f"{i:03}.png", 100 + i)
    for k, defect in enumerate(defects):
        for i in range(2):
            draw(folder / category / "test" / defect / f"{i:03}.png", 200 + 10 * k + i)
            mark = np.zeros((20, 24), np.uint8)
            mark[:10, :12] = 255
            (folder / category / "ground_truth" / defect).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mark).save(folder / category / "ground_truth" / defect / f"{i:03}_mask.png")
    (folder / category / "license.txt").write_text("yours")
    return folder / category


def pack(folder, path, root=""):
    """Pack a folder in reverse order, so that nothing can depend on the order of an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = sorted((f for f in folder.rglob("*") if f.is_file()), reverse=True)
    names = [f"{root}{file.relative_to(folder.parent).as_posix()}" for file in files]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file, name in zip(files, names, strict=True):
                archive.write(file, name)
    else:
        with tarfile.open(path, "w:" + {".xz": "xz", ".gz": "gz"}.get(path.suffix, "")) as archive:
            for file, name in zip(files, names, strict=True):
                archive.add(file, name)
    return path


def load(name, root=None, **options):
    return images.load(name, data_root=root, size=options.pop("size", 16), **options)


# -- MVTec AD ------------------------------------------------------------------------------------------------------


def test_folder_tar_xz_gz_and_zip_give_identical_tensors(tmp_path):
    product(tmp_path / "source")
    found = {}
    for suffix in (".tar", ".tar.xz", ".tar.gz", ".zip"):
        pack(tmp_path / "source/bottle", tmp_path / f"as{suffix}" / "MVTecAD" / f"bottle{suffix}")
        found[suffix] = load("mvtec:bottle", tmp_path / f"as{suffix}")
    product(tmp_path / "folder/MVTecAD")
    found["folder"] = load("mvtec:bottle", tmp_path / "folder")
    first = found["folder"]
    assert first.x.shape == (9, 3, 16, 16) and first.x.dtype == torch.uint8
    assert first.kinds == ("good",) * 3 + ("crack",) * 2 + ("dirt",) * 2 + ("good",) * 2
    assert first.test.tolist() == [False] * 3 + [True] * 6
    assert first.masks[3:7, :, :8, :8].all() and first.masks.sum() == 4 * 64
    for how, other in found.items():
        assert other.digest == first.digest and other.files == first.files and other.kinds == first.kinds, how


def test_pixels_are_pillows(tmp_path):
    product(tmp_path / "MVTecAD")
    found = load("mvtec:bottle", tmp_path)
    with Image.open(tmp_path / "MVTecAD" / found.files[0]) as image:
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert (found.x[0].numpy() == expected).all()


@pytest.mark.parametrize("root", ["", "mvtec_anomaly_detection/"])
def test_the_official_archive_of_all_categories(tmp_path, root):
    for category in ("screw", "bottle"):
        product(tmp_path / "source" / "all", category)
    with tarfile.open(tmp_path / "mvtec_anomaly_detection.tar.xz", "w:xz") as archive:
        for category in ("screw", "bottle"):
            archive.add(tmp_path / "source/all" / category, f"{root}{category}")
    both = load("mvtec:*", tmp_path)
    assert both.name == "MVTec AD, 2 of 15" and both.classes == ("bottle", "screw")
    assert both.y.tolist() == [0] * 9 + [1] * 9
    assert load("mvtec:screw,bottle", tmp_path).digest == both.digest
    one = load("mvtec:screw", tmp_path)
    assert one.name == "MVTec AD, screw" and torch.equal(one.x, both.x[both.y == 1])


def test_only_all_fifteen_categories_bear_the_full_name(tmp_path):
    for category in industrial.MVTEC:
        product(tmp_path / "MVTecAD", category, train=1, good=1, defects=("crack",))
    assert load("mvtec:*", tmp_path).name == "MVTec AD"
    (tmp_path / "MVTecAD/zipper").rename(tmp_path / "gone")
    assert load("mvtec:*", tmp_path).name == "MVTec AD, 14 of 15"
    with pytest.raises(FileNotFoundError, match=r"MVTec AD's zipper was not found .*put MVTecAD/<category>"):
        load("mvtec:zipper", tmp_path)


def test_a_missing_mask_is_named(tmp_path):
    (product(tmp_path / "MVTecAD") / "ground_truth/dirt/001_mask.png").unlink()
    with pytest.raises(ValueError, match=r"bottle/test/dirt/001.png has no mask"):
        load("mvtec:bottle", tmp_path)


def counts(found):
    return Counter((found.classes[y], kind, bool(t))
                   for y, kind, t in zip(found.y, found.kinds, found.test, strict=True))


@needs["mvtec"]
def test_the_real_bottle_and_screw(monkeypatch):
    found = images.load("mvtec:bottle,screw", data_root=REAL, size=64)
    assert found.name == "MVTec AD, 2 of 15"
    assert counts(found) == {
        ("bottle", "good", False): 209, ("bottle", "good", True): 20, ("bottle", "broken_large", True): 20,
        ("bottle", "broken_small", True): 22, ("bottle", "contamination", True): 21,
        ("screw", "good", False): 320, ("screw", "good", True): 41, ("screw", "manipulated_front", True): 24,
        ("screw", "scratch_head", True): 24, ("screw", "scratch_neck", True): 25,
        ("screw", "thread_side", True): 23, ("screw", "thread_top", True): 23}
    assert found.masks.flatten(1).any(1).tolist() == [kind != "good" for kind in found.kinds]
    calls = count_decoding(monkeypatch)
    images.load("mvtec:bottle,screw", data_root=REAL, size=64)
    assert calls == [], "the second time it comes from the cache"


@needs["mvtec"]
def test_the_digest_of_bottle_and_screw_is_the_recorded_one():
    assert images.load("mvtec:bottle,screw", data_root=REAL).digest == "27f46f829a297355"


@needs["webp"]
def test_the_real_transistor_and_pill():
    found = images.load("mvtec:transistor,pill", data_root=REAL, size=64)
    assert counts(found) == {
        ("pill", "good", False): 267, ("pill", "good", True): 26, ("pill", "color", True): 25,
        ("pill", "combined", True): 17, ("pill", "contamination", True): 21, ("pill", "crack", True): 26,
        ("pill", "faulty_imprint", True): 19, ("pill", "pill_type", True): 9, ("pill", "scratch", True): 24,
        ("transistor", "good", False): 213, ("transistor", "good", True): 60, ("transistor", "bent_lead", True): 10,
        ("transistor", "cut_lead", True): 10, ("transistor", "damaged_case", True): 10,
        ("transistor", "misplaced", True): 10}
    assert found.masks.flatten(1).any(1).tolist() == [kind != "good" for kind in found.kinds]
    assert {file.rsplit(".")[-1] for file in found.files} == {"webp"}


# -- archives that must not be trusted -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out.png", "bottle/../../out.png", "/tmp/out.png", "C:/out.png", "..\\out.png"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_that_point_outside_are_refused(tmp_path, name, kind):
    path = tmp_path / f"MVTecAD/bottle.{kind}"
    path.parent.mkdir()
    if kind == "tar":
        with tarfile.open(path, "w") as archive:
            archive.addfile(tarfile.TarInfo(name))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), b"")
    with pytest.raises(ValueError, match=r"is refused: its member .* points outside of the archive"):
        load("mvtec:bottle", tmp_path)


def test_a_link_in_a_zip_is_refused(tmp_path):
    (tmp_path / "MVTecAD").mkdir()
    with zipfile.ZipFile(tmp_path / "MVTecAD/bottle.zip", "w") as archive:
        link = zipfile.ZipInfo("bottle/train/good/000.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="is refused: its member 'bottle/train/good/000.png' is a link"):
        images.load("mvtec:bottle", data_root=tmp_path, size=16)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    (tmp_path / "MVTecAD").mkdir()
    with tarfile.open(tmp_path / "MVTecAD/bottle.tar", "w") as archive:
        member = tarfile.TarInfo("bottle/train/good/000.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ValueError, match=r"is refused: its member 'bottle/train/good/000.png' is a link or a device"):
        load("mvtec:bottle", tmp_path)


def small(member, name):
    assert name != "bottle/test/good/000.png", "it was read"
    return member


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_a_member_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(archives, "LARGEST", 5000)
    folder = product(tmp_path / "source")
    path = pack(folder, tmp_path / f"MVTecAD/bottle{suffix}")
    assert len(load("mvtec:bottle", tmp_path).x) == 9
    (folder / "license.txt").write_bytes(bytes(6000))  # nothing reads it, so it does no harm
    pack(folder, path)
    assert len(load("mvtec:bottle", tmp_path).x) == 9
    (folder / "test/good/000.png").write_bytes(bytes(6000))
    pack(folder, path)
    extract, read = tarfile.TarFile.extractfile, zipfile.ZipFile.read
    monkeypatch.setattr(tarfile.TarFile, "extractfile", lambda self, member: extract(self, small(member, member.name)))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, member: read(self, small(member, member.filename)))
    with pytest.raises(ValueError, match=r"member 'bottle/test/good/000.png' has 6,000 bytes, more than 5,000\.$"):
        load("mvtec:bottle", tmp_path)


def test_a_file_of_a_folder_that_would_fill_the_memory_is_named(tmp_path, monkeypatch):
    folder = product(tmp_path)
    monkeypatch.setattr(archives, "LARGEST", 5000)
    (folder / "test/good/000.png").write_bytes(bytes(6000))
    with pytest.raises(ValueError, match=r"cannot be used: test/good/000.png \(has more than 5,000 bytes\)"):
        load(f"folder:{folder}")


@pytest.mark.parametrize("kind", ["XHDTYPE", "XGLTYPE", "GNUTYPE_LONGNAME", "GNUTYPE_LONGLINK"])
@pytest.mark.parametrize("first", [True, False])
def test_a_header_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path, kind, first):
    """tarfile itself reads such a header whole; here only its first block is there, so reading it would fail."""
    path = pack(product(tmp_path / "source"), tmp_path / "MVTecAD/bottle.tar")
    bomb = tarfile.TarInfo("bomb")
    bomb.type, bomb.size = getattr(tarfile, kind), 2**30
    whole = path.read_bytes()
    at = 0 if first else 512 * 2  # the licence's text fills one block
    path.write_bytes(whole[:at] + bomb.tobuf(tarfile.GNU_FORMAT) + whole[at:])
    with pytest.raises(ValueError, match=r"refused: a header in it has 1,073,741,824 bytes, more than 1,048,576\.$"):
        load("mvtec:bottle", tmp_path)


def test_no_more_of_an_archive_is_in_memory_than_one_member_may_have(tmp_path, monkeypatch):
    pack(product(tmp_path / "source"), tmp_path / "MVTecAD/bottle.tar")
    whole = load("mvtec:bottle", tmp_path, size=24).digest
    sizes, some = [], archives._some
    monkeypatch.setattr(archives, "LARGEST", 3000)
    monkeypatch.setattr(archives, "_some", lambda files: sizes.append(some(files)) or sizes[-1])
    monkeypatch.setattr(archives, "VERSION", 0)  # not from the cache
    assert load("mvtec:bottle", tmp_path, size=24).digest == whole
    assert max(sum(len(raw) for *_, raw in part[:-1]) for part in sizes if part) < 3000 and len(sizes) > 3


@pytest.mark.parametrize("suffix", [".tar", ".tar.xz", ".tar.gz", ".zip"])
def test_a_half_downloaded_archive_is_named(tmp_path, suffix):
    whole = pack(product(tmp_path / "source"), tmp_path / f"MVTecAD/bottle{suffix}").read_bytes()
    path = tmp_path / f"MVTecAD/bottle{suffix}"
    for share in (0.02, 0.3, 0.7):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=r"bottle\S+ is damaged or half downloaded .*fetch it again"):
            load("mvtec:bottle", tmp_path)


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_a_flipped_pixel_is_named_by_the_archives_checksum(tmp_path, suffix):
    """Of a format that has no checksum of its own; the end, where gzip has its, lies behind the last member."""
    folder = product(tmp_path / "source")
    whole = draw(folder / "test/good/zzz.bmp", 5).read_bytes()
    flipped = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
    path = pack(folder, tmp_path / f"MVTecAD/bottle{suffix}")
    raw = path.read_bytes()
    if suffix == ".tar.gz":
        path.write_bytes(gzip.compress(gzip.decompress(raw).replace(whole, flipped))[:-8] + raw[-8:])
    else:
        path.write_bytes(raw.replace(whole, flipped))
    with pytest.raises(ValueError, match=r"bottle\S+ is damaged or half downloaded"):
        load("mvtec:bottle", tmp_path)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_picture_that_is_there_twice_is_refused(tmp_path, suffix):
    folder = product(tmp_path / "source")
    path = pack(folder, tmp_path / f"MVTecAD/bottle{suffix}")
    again = folder / "test/good/000.png"
    draw(again, 77)
    if suffix == ".tar":
        with tarfile.open(path, "a") as archive:
            archive.add(again, "bottle/test/good/000.png")
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.write(again, "bottle/test/good/000.png")
    with pytest.raises(ValueError, match="is refused: it has two members 'bottle/test/good/000.png'"):
        load("mvtec:bottle", tmp_path)


@pytest.mark.parametrize(("field", "value", "says"), [(8, 1, "encrypted"), (10, 97, "compression method")])
def test_a_zip_that_cannot_be_unpacked_says_why(tmp_path, field, value, says):
    path = pack(product(tmp_path / "source"), tmp_path / "MVTecAD/bottle.zip")
    raw = bytearray(path.read_bytes())
    for signature, before in ((b"PK\x01\x02", 0), (b"PK\x03\x04", 2)):
        at = -1
        while (at := raw.find(signature, at + 1)) >= 0:
            raw[at + field - before] = value
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=rf"bottle.zip cannot be unpacked \(.*{says}.*without a password"):
        load("mvtec:bottle", tmp_path)


def test_a_name_that_is_not_text_is_named_and_can_be_passed_over(tmp_path):
    folder = product(tmp_path)
    try:
        (folder / os.fsdecode(b"test/good/\xff.png")).write_bytes((folder / "test/good/000.png").read_bytes())
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    with pytest.raises(ValueError, match=r"test/good/\?.png \(has a name that is not UTF-8\)"):
        load(f"folder:{folder}")
    with pytest.warns(UserWarning, match="not UTF-8"):
        assert len(load(f"folder:{folder}", broken="skip").x) == 9


def test_a_tar_that_stops_between_two_members_is_named(tmp_path):
    path = pack(product(tmp_path / "source"), tmp_path / "MVTecAD/bottle.tar")
    with tarfile.open(path) as archive:
        cut = archive.getmembers()[5].offset
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="half downloaded"):
        load("mvtec:bottle", tmp_path)


# -- the cache -----------------------------------------------------------------------------------------------------


def count_decoding(monkeypatch):
    calls = []
    real = decoding.picture
    monkeypatch.setattr(decoding, "picture", lambda raw, size: calls.append(1) or real(raw, size))
    return calls


@pytest.mark.parametrize("packed", [True, False])
def test_a_changed_source_is_decoded_again_and_an_unchanged_one_is_not(tmp_path, monkeypatch, packed):
    source = product(tmp_path / ("source" if packed else "MVTecAD"))
    if packed:
        pack(source, tmp_path / "MVTecAD/bottle.tar.xz")
    calls = count_decoding(monkeypatch)
    first = load("mvtec:bottle", tmp_path)
    assert len(calls) == 9
    assert load("mvtec:bottle", tmp_path).digest == first.digest and len(calls) == 9
    load("mvtec:bottle", tmp_path, size=20)
    assert len(calls) == 18
    draw(source / "train/good/000.png", 999)
    if packed:
        pack(source, tmp_path / "MVTecAD/bottle.tar.xz")
    assert load("mvtec:bottle", tmp_path).digest != first.digest and len(calls) == 27


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "rubbish"])
def test_a_damaged_cache_is_rebuilt(tmp_path, cache, monkeypatch, damage):
    product(tmp_path / "MVTecAD")
    first = load("mvtec:bottle", tmp_path)
    (kept,) = cache.glob("*.npz")
    raw = bytearray(kept.read_bytes())
    raw[len(raw) // 2] ^= 255
    kept.write_bytes({"cut": raw[: len(raw) // 2], "flip": raw, "empty": b"", "rubbish": b"PK" * 999}[damage])
    calls = count_decoding(monkeypatch)
    assert load("mvtec:bottle", tmp_path).digest == first.digest and len(calls) == 9
    assert load("mvtec:bottle", tmp_path).digest == first.digest and len(calls) == 9


def test_no_flipped_bit_of_the_cache_becomes_a_pixel(tmp_path, cache):
    product(tmp_path / "MVTecAD")
    first = load("mvtec:bottle", tmp_path)
    (kept,) = cache.glob("*.npz")
    whole = kept.read_bytes()
    places = np.random.default_rng(0).choice(len(whole), 60, replace=False)
    ends = [*range(40), *range(len(whole) - 120, len(whole), 2)]  # zip's own tables
    for place in [*places, *ends]:
        raw = bytearray(whole)
        raw[place] ^= 1 << int(place) % 8
        kept.write_bytes(raw)
        again = load("mvtec:bottle", tmp_path)
        assert (again.digest, again.files, again.kinds) == (first.digest, first.files, first.kinds), place


@pytest.mark.parametrize("wrong", [
    {"x": np.zeros((5, 3, 16, 16), np.uint8)}, {"x": np.zeros((9, 3, 8, 8), np.uint8)}, {"x": np.zeros((9, 3, 16, 16))},
    {"masks": np.zeros((9, 1, 16, 16), bool)}, {"names": np.array(["a"])}, {"more": np.zeros(1)}])  # fmt: skip
def test_a_cache_whose_parts_do_not_belong_together_is_rebuilt(tmp_path, cache, wrong):
    product(tmp_path / "MVTecAD")
    first = load("mvtec:bottle", tmp_path)
    (kept,) = cache.glob("*.npz")
    with np.load(kept) as arrays:
        parts = dict(arrays)
    np.savez(kept, **parts | wrong)
    assert load("mvtec:bottle", tmp_path).digest == first.digest
    with np.load(kept) as arrays:
        assert {name: array.tobytes() for name, array in arrays.items()} == {
            name: array.tobytes() for name, array in parts.items()}  # fmt: skip


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path, cache):
    cache.write_text("a file where the folder should be")
    product(tmp_path / "MVTecAD")
    assert len(load("mvtec:bottle", tmp_path).x) == 9


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from helpers import images
from helpers.images import cache
cache.cache_folder = lambda: Path(sys.argv[2])
moment = sys.argv[3]
def kill(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
if moment == "before it is synced": os.fsync = kill
if moment == "before it has its name": os.replace = kill
if moment == "in the middle":
    savez = np.savez
    def half(file, **arrays):
        savez(file, **dict(list(arrays.items())[:2]))
        file.flush()
        kill()
    np.savez = half
print(images.load("mvtec:bottle", data_root=sys.argv[1], size=16).digest)
"""


@pytest.mark.parametrize("moment", ["in the middle", "before it is synced", "before it has its name"])
def test_a_process_killed_while_it_writes_the_cache(tmp_path, cache, moment):
    product(tmp_path / "MVTecAD")
    project = Path(images.__file__).parents[2]

    child = subprocess.run([sys.executable, "-c", KILLED, tmp_path, cache, moment], cwd=project, timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert list(cache.glob(".*.part")) and not list(cache.glob("*.npz"))
    found = load("mvtec:bottle", tmp_path)
    assert len(found.x) == 9 and found.masks.any()
    assert len(list(cache.glob("*.npz"))) == 1


# -- a reader's own folder -----------------------------------------------------------------------------------------


def test_own_folder_in_the_mvtec_layout_with_masks_and_without(tmp_path):
    folder = product(tmp_path, "my parts")
    found = load(f"folder:{folder}")
    assert found.name == "folder my parts" and found.classes == ("my parts",) and found.masks.any()
    assert found.files[0] == "my parts/train/good/000.png"
    for mask in (folder / "ground_truth").rglob("*.png"):
        mask.unlink()
    bare = load(f"folder:{folder}")
    assert bare.masks is None and torch.equal(bare.x, found.x)


def own_folder(folder):
    for place, n in (("good", 4), ("test/good", 1), ("bad/crack", 2)):
        for i in range(n):
            draw(folder / place / f"IMG {i}.JPG", i)
    return folder


def test_own_folder_with_names_of_ones_own(tmp_path):
    own_folder(tmp_path)
    (tmp_path / "good/.DS_Store").write_bytes(b"x")
    (tmp_path / "bad/crack/Thumbs.db").write_bytes(b"x")
    found = load(f"folder:{tmp_path}")
    assert found.kinds == ("good",) * 4 + ("crack",) * 2 + ("good",) and found.masks is None
    assert found.test.tolist() == [False] * 4 + [True] * 3
    assert found.files[4].endswith("/test/crack/IMG 0.JPG")


@pytest.mark.parametrize("packed", ["", ".zip", ".tar.gz"])
def test_what_no_folder_judges_counts_neither_as_good_nor_as_defective(tmp_path, packed):
    """A chapter measures, so a picture of no known kind would make its numbers wrong."""
    path = own_folder(tmp_path / "mine")
    first = load(f"folder:{path}")
    for name in ("score/a.png", "test/unknown/b.png", "test/c.png"):
        draw(path / name)
    (path / "score/notes.txt").write_text("no picture, which stops nobody")
    if packed:
        path = pack(path, tmp_path / f"mine{packed}")
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=rf"^4 files in {path} are left out, since no folder says whether"):
            found = load(f"folder:{path}")
        assert found.files == first.files and torch.equal(found.x, first.x)


def test_a_folder_with_more_files_than_pictures_could_be_is_refused_before_the_walk_goes_on(tmp_path, monkeypatch):
    folder = product(tmp_path / "mine")
    places, walk = [], os.walk

    def watched(*given, **named):
        for step in walk(*given, **named):
            places.append(step[0])
            yield step

    monkeypatch.setattr(os, "walk", watched)
    for k in range(30):
        (tmp_path / f"other {k:02}").mkdir()
        (tmp_path / f"other {k:02}" / "letter").touch()
    monkeypatch.setattr(industrial, "MOST_FILES", 20)
    with pytest.raises(ValueError, match=rf"^{tmp_path} holds more than 20 files; name the folder of the pictures"):
        load(f"folder:{tmp_path}")
    assert len(places) < 25
    assert len(load(f"folder:{folder}").x) == 9


def test_what_may_not_be_read_is_passed_over_and_counted(tmp_path, monkeypatch):
    folder = product(tmp_path, "mine")
    first = load(f"folder:{folder}")
    for name in ("locked", "test/locked"):
        (folder / name).mkdir()
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "locked":  # permissions would not stop root, as whom CI may run
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.warns(UserWarning, match=rf"^2 files or folders in {folder} may not be read and are passed over"):
        assert load(f"folder:{folder}").digest == first.digest


def test_own_folder_of_several_products(tmp_path):
    for category in ("nut", "bolt"):
        product(tmp_path, category)
    found = load(f"folder:{tmp_path}")
    assert found.classes == ("bolt", "nut") and found.y.tolist() == [0] * 9 + [1] * 9


def test_own_folder_without_what_it_needs(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        load(f"folder:{tmp_path / 'nowhere'}")
    draw(tmp_path / "stuff" / "0.png")
    with pytest.raises(ValueError, match="no good pictures to train on; put them into train/good/"):
        load(f"folder:{tmp_path}")
    draw(tmp_path / "good" / "0.png")
    for more in ("score", "bad"):
        draw(tmp_path / more / "0.png")
        with pytest.raises(ValueError, match="in test/good/ and in test/<kind .* your-own-pictures does without"):
            load(f"folder:{tmp_path}")


def photo(size=(60, 40), color=(200, 30, 90)):
    return Image.new("RGB", size, color)


def as_bytes(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def sixteen_bits(value):
    return as_bytes(Image.fromarray(np.full((20, 20), value, np.uint16)), "PNG")


def turned_photo():
    image = Image.new("RGB", (60, 40), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 30, 40))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: left is up
    return as_bytes(image, "JPEG", exif=exif, quality=95)


@pytest.mark.parametrize(("raw", "expected"), [
    (as_bytes(photo(), "PNG"), (200, 30, 90)),
    (as_bytes(Image.new("L", (20, 20), 77), "PNG"), (77, 77, 77)),
    (as_bytes(Image.new("1", (20, 20), 1), "PNG"), (255, 255, 255)),
    (as_bytes(Image.new("RGBA", (20, 20), (10, 20, 30, 255)), "PNG"), (10, 20, 30)),
    (as_bytes(Image.new("RGBA", (20, 20), (10, 20, 30, 0)), "PNG"), (255, 255, 255)),
    (as_bytes(Image.new("LA", (20, 20), (60, 255)), "PNG"), (60, 60, 60)),
    (as_bytes(photo().quantize(4), "PNG"), (200, 30, 90)),
    (as_bytes(photo(), "GIF", save_all=True, append_images=[photo(color=(0, 0, 0))]), (200, 30, 90)),
    (sixteen_bits(257 * 123), (123, 123, 123)),
    (sixteen_bits(65535), (255, 255, 255)),
    (as_bytes(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0)),
    (as_bytes(photo(), "TIFF"), (200, 30, 90)),
    (as_bytes(photo(), "BMP"), (200, 30, 90)),
    (as_bytes(photo(), "WEBP", lossless=True), (200, 30, 90)),
], ids=["rgb", "grey", "bilevel", "rgba", "transparent", "grey with alpha", "palette", "animation", "16 bits",
        "16 bits white", "cmyk", "tiff", "bmp", "webp"])
def test_every_kind_of_picture_becomes_rgb(raw, expected):
    pixels = decoding.picture(raw, 12)
    assert pixels.shape == (3, 12, 12) and pixels.dtype == np.uint8
    assert np.abs(pixels.reshape(3, -1).T.astype(int) - expected).max() <= 3


def test_a_photo_taken_with_a_turned_camera_stands_upright():
    pixels = decoding.picture(turned_photo(), 12).astype(int)
    assert pixels[:, :5].min() > 240 and pixels[:, 7:].max() < 15


@pytest.mark.parametrize(("raw", "why"), [
    (b"", "is empty"),
    (b"hello, I am no picture", "is not a picture"),
    (b"\x89PNG\r\n\x1a\n", "is not a picture|is damaged"),
    (as_bytes(photo((300, 300)), "JPEG")[:400], "is damaged or truncated"),
    (as_bytes(Image.effect_noise((99, 99), 50), "PNG")[:3000], "is damaged or truncated"),
    (as_bytes(Image.effect_noise((99, 99), 50), "BMP")[:3000], "is damaged or truncated"),
    (as_bytes(Image.new("F", (20, 20), 0.5), "TIFF"), "fractional numbers"),
    (as_bytes(Image.new("I", (20, 20), 70000), "TIFF"), "more than 16 bits"),
])
def test_what_is_no_whole_picture_is_told_in_one_sentence(raw, why):
    with pytest.raises(decoding.BrokenPicture, match=why) as caught:
        decoding.picture(raw, 12)
    assert "\n" not in str(caught.value)


def test_a_picture_of_absurd_size_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(decoding.BrokenPicture, match="has more than 1,000 pixels"):
        decoding.picture(as_bytes(photo((40, 40)), "PNG"), 12)


def test_a_mask_is_half_covered_pixels_and_never_vanishes():
    mark = np.zeros((40, 40), np.uint8)
    mark[:20, :25] = 255
    assert decoding.mask(as_bytes(Image.fromarray(mark), "PNG"), 4).astype(int)[0].tolist() == [
        [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    mark[:], mark[33, 7] = 100, 255  # grey below 128 is no defect; one pixel is
    found = decoding.mask(as_bytes(Image.fromarray(mark), "PNG"), 4)[0]
    assert found.sum() == 1 and found[3, 0]
    assert not decoding.mask(as_bytes(Image.new("L", (40, 40), 127), "PNG"), 4).any()


@pytest.mark.parametrize("kind", ["palette", "white on nothing", "red on nothing", "red on black"])
def test_a_mask_in_colour_or_with_transparent_parts_marks_what_it_shows(kind):
    shape = np.zeros((8, 8), np.uint8)
    shape[:4, :4] = 1
    if kind == "palette":
        image = Image.fromarray(shape, "P")
        image.putpalette([0, 0, 0, 128, 0, 0])  # the first colours of many tools for segmentation
    else:
        colours = np.array([[0, 0, 0, 255 * kind.endswith("black")], [255, *[255 * kind.startswith("white")] * 2, 255]])
        image = Image.fromarray(colours[shape].astype(np.uint8), "RGBA")
    assert (decoding.mask(as_bytes(image, "PNG"), 8)[0] == shape.astype(bool)).all()


def test_masks_of_one_name_in_two_folders_stay_apart(tmp_path):
    own_folder(tmp_path)
    for day, half in (("day1", np.s_[:, :20]), ("day2", np.s_[:, 20:])):
        mark = np.zeros((40, 40), np.uint8)
        mark[half] = 255
        for part in ("test", "ground_truth"):
            draw(tmp_path / part / "scratch" / day / "001.png")
        Image.fromarray(mark).save(tmp_path / "ground_truth/scratch" / day / "001.png")
    for lost in (tmp_path / "bad/crack").iterdir():
        lost.unlink()
    found = load(f"folder:{tmp_path}")
    shares = {file: mask[0, :, :8].float().mean().item() for file, mask in zip(found.files, found.masks)}
    assert [share for file, share in shares.items() if "scratch" in file] == [1, 0]


def test_another_label_is_another_digest_where_no_mask_tells(tmp_path):
    """Else a record that was made with the wrong label would answer for the right one."""
    own_folder(tmp_path)
    first = load(f"folder:{tmp_path}")
    os.rename(tmp_path / "bad/crack/IMG 1.JPG", tmp_path / "test/good/A.JPG")  # the pixels keep their order
    second = load(f"folder:{tmp_path}")
    assert torch.equal(first.x, second.x) and first.kinds != second.kinds and first.digest != second.digest


def test_as_the_finder_and_tar_pack_a_folder(tmp_path):
    plain = load(f"folder:{own_folder(tmp_path / 'mine')}")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for file in (tmp_path / "mine").rglob("*.*"):
            archive.write(file, file.relative_to(tmp_path))
            archive.writestr(f"__MACOSX/{file.relative_to(tmp_path).parent}/._{file.name}", b"Mac OS X")
    (tmp_path / "mine/good/._A.JPG").write_bytes(b"Mac OS X")
    with tarfile.open(tmp_path / "mine.tar", "w") as archive:
        archive.add(tmp_path / "mine", ".")
    for name in ("mine.zip", "mine.tar"):
        packed = load(f"folder:{tmp_path / name}")
        assert torch.equal(packed.x, plain.x) and packed.kinds == plain.kinds and packed.classes == ("mine",)
    (tmp_path / "MVTecAD").mkdir()
    with tarfile.open(tmp_path / "MVTecAD/bottle.tar", "w") as archive:
        archive.add(product(tmp_path / "other", "bottle"), ".")
    assert load("mvtec:bottle", tmp_path).classes == ("bottle",)


def test_four_categories_do_not_answer_for_another_four(tmp_path):
    names = ("bottle", "cable", "capsule", "carpet", "grid")
    for name in names:
        product(tmp_path / "mvtec_anomaly_detection", name)
    pack(tmp_path / "mvtec_anomaly_detection", tmp_path / "packed/mvtec_anomaly_detection.tar")
    for four in (names[:4], names[1:]):
        assert load(f"mvtec:{','.join(four)}", tmp_path / "packed").classes == four


def test_a_file_that_may_be_read_again_is_no_longer_broken(tmp_path, monkeypatch):
    path = own_folder(tmp_path / "mine")
    read = Path.read_bytes

    def refused(file):
        if file.name == "IMG 0.JPG" and file.parent.name == "crack":
            raise PermissionError(13, "Permission denied")
        return read(file)

    with monkeypatch.context() as patch, pytest.raises(ValueError, match=r"IMG 0.JPG \(cannot be read: Permission"):
        patch.setattr(Path, "read_bytes", refused)
        load(f"folder:{path}")
    assert len(load(f"folder:{path}").files) == 7


@pytest.mark.parametrize("name, folder, hint", [("mtd", "MTD", "MT_Free/Imgs"), ("coil100", "coil-100", "obj1__0.png")])
def test_a_folder_of_the_right_name_without_pictures(tmp_path, name, folder, hint):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "README.txt").write_text("to come")
    with pytest.raises(FileNotFoundError, match=f"{folder} holds no pictures .*{hint}"):
        load(name, tmp_path)


def messy(tmp_path):
    folder = product(tmp_path, "box", train=5)
    good = folder / "train/good"
    (good / "001.png").write_bytes((good / "001.png").read_bytes()[:300])
    (good / "notes.txt").write_text("remember the milk")
    (folder / "test/dirt/000.png").write_bytes(b"")
    return folder


def test_three_broken_files_are_named_and_stop_the_run(tmp_path):
    folder = messy(tmp_path)
    for _ in range(2):  # from the files, then from the cache
        with pytest.raises(ValueError) as caught:
            load(f"folder:{folder}")
        message = str(caught.value)
        assert "3 of " in message and "broken='skip'" in message and "\n" not in message
        assert "train/good/001.png (is damaged or truncated)" in message
        assert "train/good/notes.txt (is not a picture)" in message and "test/dirt/000.png (is empty)" in message


def test_three_broken_files_are_named_and_skipped(tmp_path):
    folder = messy(tmp_path)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"001\.png .*notes\.txt .*; going on without them") as caught:
            found = load(f"folder:{folder}", broken="skip")
        assert len(caught) == 1
        assert len(found.x) == 11 - 2 and found.masks.flatten(1).any(1).sum() == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (folder / "train/good/001.png").unlink()
        (folder / "train/good/notes.txt").unlink()
        draw(folder / "test/dirt/000.png")
        assert len(load(f"folder:{folder}", broken="skip").x) == 10
    with pytest.raises(ValueError, match="broken must be 'stop' or 'skip', not 'ignore'"):
        load(f"folder:{folder}", broken="ignore")


def test_a_defect_whose_mask_is_broken_is_left_out(tmp_path):
    folder = product(tmp_path, "box")
    (folder / "ground_truth/dirt/001_mask.png").write_bytes(b"?")
    with pytest.warns(UserWarning, match="001_mask.png"):
        found = load(f"folder:{folder}", broken="skip")
    assert "box/test/dirt/001.png" not in found.files and len(found.x) == 8
    (folder / "ground_truth/dirt/000_mask.png").unlink()
    with pytest.warns(UserWarning, match="001_mask.png"), pytest.raises(ValueError, match="000.png has no mask"):
        load(f"folder:{folder}", broken="skip")


# -- the other sets ------------------------------------------------------------------------------------------------


def fake_mtd(folder):
    """Thirty good tiles and six defective ones, each seen under six exposures."""
    for tile in range(36):
        kind = "Free" if tile < 30 else "Crack"
        for e in range(1, 7):
            stem = folder / f"MT_{kind}/Imgs/exp{e}_num_{5000 * tile + 20 * e}"
            draw(stem.with_suffix(".jpg"), tile * 10 + e, mode="L")
            Image.fromarray(np.full((20, 24), 0 if kind == "Free" else 255, np.uint8)).save(stem.with_suffix(".png"))


def test_a_group_of_tiles_with_a_defect_is_never_trained_on():
    groups, good = np.repeat(np.arange(20), 2), np.ones(40, bool)
    good[21::2] = False  # one of two views, in half of the groups
    train = draw_train(groups, good, 0)
    assert train[:20].sum() >= 14 and not train[20:].any()


def test_views_of_one_tile_do_not_straddle(tmp_path):
    fake_mtd(tmp_path / "MTD")
    found = load("mtd", tmp_path)
    assert found.name == "MTD" and Counter(found.kinds) == {"good": 180, "crack": 36}
    groups = industrial.tiles(found.files)
    assert len(set(groups.tolist())) == 36
    train = set(groups[~found.test.numpy()].tolist())
    assert (~found.test).sum() == 90 and not train & set(groups[found.test.numpy()].tolist())
    assert found.masks.flatten(1).any(1).tolist() == [kind == "crack" for kind in found.kinds]
    assert found.groups.tolist() == groups.tolist()
    assert load("mtd:1", tmp_path).test.tolist() != found.test.tolist()
    pack(tmp_path / "MTD", tmp_path / "packed/MTD/tiles.tar")
    assert load("mtd", tmp_path / "packed").digest == found.digest


def test_the_plain_random_split_of_the_paper(tmp_path):
    fake_mtd(tmp_path / "MTD")
    found = load("mtd:random", tmp_path)
    good = np.array([kind == "good" for kind in found.kinds])
    assert found.name == "MTD, random split" and found.groups is None
    assert ((~found.test).numpy() & good).sum() == 90
    groups = industrial.tiles(found.files)
    assert set(groups[~found.test.numpy()].tolist()) & set(groups[found.test.numpy() & good].tolist())
    for wrong in ("mtd:often", "mtd:random3", "mtd:random:x"):
        with pytest.raises(ValueError, match="a seed, a whole number"):
            load(wrong, tmp_path)


@needs["mtd"]
def test_the_real_tiles():
    found = images.load("mtd", data_root=REAL, size=32)
    assert Counter(found.kinds) == {"good": 952, "blowhole": 115, "uneven": 103, "break": 85, "crack": 57, "fray": 32}
    empty = [file for file, kind, mask in zip(found.files, found.kinds, found.masks, strict=True)
             if kind != "good" and not mask.any()]
    assert sorted(file.split("/")[-1] for file in empty) == [
        "exp3_num_45042.jpg", "exp4_num_124690.jpg", "exp4_num_352527.jpg", "exp4_num_45057.jpg"]
    groups = industrial.tiles(found.files)
    assert len(set(groups.tolist())) == 184 and np.bincount(groups).max() == 24
    assert 0.45 < (~found.test).sum() / 952 < 0.55

    grey = found.x[:, 0].flatten(1).double()
    grey = (grey - grey.mean(1, keepdim=True)) / grey.std(1, keepdim=True, correction=0)
    likeness = (grey @ grey.T / grey.shape[1]).fill_diagonal_(0)
    value, twin = likeness.max(1)
    apart = torch.from_numpy(groups != groups[twin.numpy()])
    assert apart[value > 0.95].float().mean() < 0.03
    straddle = (found.test != found.test[twin])[value > 0.95].float().mean()
    plain = images.load("mtd:random", data_root=REAL, size=32)
    assert straddle < 0.03 < 0.25 < (plain.test != plain.test[twin])[value > 0.95].float().mean()


@needs["plant"]
def test_the_real_apple_leaves():
    found = images.load("plantvillage:apple", data_root=REAL, size=16)
    assert found.name == "PlantVillage apple, segmented" and found.classes == ("apple",)
    assert Counter(found.kinds) == {"good": 1645, "Apple_scab": 630, "Black_rot": 621, "Cedar_apple_rust": 275}
    assert 0.45 < (~found.test).sum() / 1645 < 0.55
    with pytest.raises(FileNotFoundError, match="no pictures of 'apple:color'"):
        images.load("plantvillage:apple:color", data_root=REAL, size=16)


def test_plantvillage_folder_with_both_variants(tmp_path):
    raw = tmp_path / "PlantVillage-Dataset/raw"
    for i in range(40):
        for kind in ("healthy", "Black_rot"):
            draw(raw / f"color/Grape___{kind}/ab-{i}___RS {i}.JPG", i)
            draw(raw / f"segmented/Grape___{kind}/ab-{i}___RS {i}_final_masked.jpg", 50 + i)
            draw(raw / f"grayscale/Grape___{kind}/ab-{i}___RS {i}.JPG", 50 + i)
    with pytest.raises(ValueError, match="both variants; write plantvillage:grape:color"):
        load("plantvillage:grape", tmp_path)
    found = load("plantvillage:grape:color", tmp_path)
    assert len(found.x) == 80 and (~found.test).sum() == 20
    assert all("/color/" in "/" + file for file in found.files)
    block = [int(file.split("RS ")[1][:-4]) // 10 for file in found.files]
    healthy = [kind == "good" for kind in found.kinds]
    sides = {(b, bool(t)) for b, t, h in zip(block, found.test, healthy, strict=True) if h}
    assert len(sides) == len(set(block))


def test_coil_100(tmp_path):
    for k in range(1, 15):
        for angle in range(0, 360, 5):
            draw(tmp_path / f"coil-100/obj{k}__{angle}.png", k * 1000 + angle, side=8)
    found = load("coil100", tmp_path, size=8)
    assert found.x.shape == (14 * 72, 3, 8, 8) and found.classes[1] == "obj2" and found.kinds is None
    assert torch.bincount(found.y).tolist() == [72] * 14 and found.test.sum() == 14 * 36
    assert found.files[:2] == ("obj1__0.png", "obj1__5.png")
    drawn = load("coil100:3", tmp_path, size=8)
    assert Counter(drawn.kinds) == {"good": 720, "other object": 4 * 72} and (~drawn.test).sum() == 432
    assert {kind for kind, t in zip(drawn.kinds, drawn.test, strict=True) if not t} == {"good"}
    assert len(drawn.classes) == 1 and len(protocols.train_on_good(drawn).train) == 432, "one model for all ten"
    assert found.name == "COIL-100, 1,008 of 7,200 views"
    assert drawn.name == "COIL-100, ten normal 3, 1,008 of 7,200 views"
    with pytest.raises(ValueError, match="does not mark defects.* coil100:SEED"):
        protocols.train_on_good(found)
    assert drawn.kinds == load("coil100:3", tmp_path, size=8).kinds != load("coil100:4", tmp_path, size=8).kinds
    pack(tmp_path / "coil-100", tmp_path / "zipped/coil-100.zip")
    assert load("coil100", tmp_path / "zipped", size=8).digest == found.digest


def test_wrong_names_and_sizes_are_told_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="MVTec AD has no category 'botle'; it has bottle, cable"):
        load("mvtec:botle", tmp_path)
    with pytest.raises(ValueError, match="There is no data set named 'mvtek:bottle'; the names are"):
        load("mvtek:bottle", tmp_path)
    with pytest.raises(ValueError, match="whole number of pixels"):
        load("parts", size=0)
    with pytest.raises(ValueError, match="a seed, a whole number"):
        load("parts:many")
    with pytest.raises(FileNotFoundError, match=r"The data_root .* is not a folder"):
        load("mvtec:bottle", tmp_path / "nowhere")
    for name in ("mtd", "coil100", "plantvillage:apple"):
        with pytest.raises(FileNotFoundError, match=r"was not found in .*: put .* there"):
            load(name, tmp_path)


def test_the_generated_set_comes_by_name():
    assert load("parts:2", size=24).digest != load("parts", size=24).digest
    assert load("parts", size=24).name == "parts" and load("parts:2", size=24).name == "parts 2"


def test_the_fingerprint_of_an_archive_is_its_sha256(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"abc")
    assert archives.fingerprint(path) == hashlib.sha256(b"abc").hexdigest()[:16]
