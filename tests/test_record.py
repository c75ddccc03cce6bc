"""Recording: what is missing is run in the order of the list, found again, and what is left is said in minutes."""

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import psutil
import pytest

from helpers import chapter, records
from tools import record

ROOT = Path(__file__).resolve().parent.parent
LIST = """
[[entry]]
what = "the small one"
chapter = "comparing-autoencoders"
parameters = { dataset = "digits", methods = ["cae"], seeds = 2, epochs = 2, map_classes = 1, limit = 60 }

[[entry]]
what = "one that is not at hand"
chapter = "comparing-autoencoders"
parameters = { dataset = "svhn" }
"""


@pytest.fixture
def listed(tmp_path, monkeypatch):
    path = tmp_path / "record.toml"
    path.write_text(LIST)
    monkeypatch.setattr(record, "LIST", path)
    monkeypatch.delenv("DATA_ROOT", raising=False)
    return path


def test_what_is_missing_is_recorded_and_nothing_twice(listed, tmp_path, capfd):
    into = tmp_path / "runs"
    assert record.main(["--here", "--into", str(into), "--minutes", "10", "--workers", "1"]) == 0
    said = capfd.readouterr().out
    made = records.read_all(into / "comparing-autoencoders")
    assert len([r for r in made if r["config"]["method"] == "CAE" and r["config"]["variant"] == ""]) == 2 + 1
    assert f"Recorded: {len(made)} runs." in said and "Left: 0 runs" in said
    assert "Passed over: one that is not at hand" in said and "data/cache" in said
    assert all(r["provenance"]["tier"] == "paper" for r in made)
    times = {path: path.stat().st_mtime_ns for path in into.rglob("*.json")}
    assert record.main(["--here", "--into", str(into), "--minutes", "10", "--workers", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in into.rglob("*.json")} == times
    assert "Recorded: 0 runs." in capfd.readouterr().out


def test_what_is_left_is_listed_with_the_minutes_of_its_like(listed, tmp_path, capfd):
    into = tmp_path / "runs"
    record.main(["--here", "--into", str(into), "--minutes", "10", "--workers", "1"])
    for i, path in enumerate((into / "comparing-autoencoders").glob("cae-*.json")):
        slow = records.read(path)
        slow["provenance"]["seconds"] = 600.0 if i else 6.0  # of 2 epochs; a quick one does not promise that all are
        records.save(slow, path.parent)
    [gone, *_] = (into / "comparing-autoencoders").glob("cae-learning-rate*.json")
    gone.unlink()
    capfd.readouterr()
    assert record.main(["--list", "--into", str(into)]) == 0
    said = capfd.readouterr().out
    assert "Left: 1 runs on the image sets at hand, about 0.2 hours of one core." in said
    assert "1 runs,     10 minutes: the small one" in said


def test_the_pace_of_a_gpu_says_nothing_of_a_processor(listed, tmp_path):
    record.main(["--here", "--into", str(tmp_path), "--minutes", "10", "--workers", "1"])
    on_cpu, known = record.paces(tmp_path, "cpu"), len(list(tmp_path.glob("*/*.json")))
    assert known and on_cpu and not record.paces(tmp_path, "cuda")
    for path in tmp_path.glob("*/*.json"):
        quick = records.read(path)
        quick["provenance"] |= {"seconds": 0.001, "device": "NVIDIA H200"}
        records.save(quick, path.parent)
    assert not record.paces(tmp_path, "cpu") and record.paces(tmp_path, "cuda").keys() == on_cpu.keys()


def test_the_pace_of_a_method_elsewhere_is_that_of_its_chapter_and_precision():
    known = {("a", "CAE", "mnist", "fp32"): 60, ("a", "CAE", "mnist", "bf16"): 6, ("b", "CAE", "cifar10", "bf16"): 600,
             ("a", "CAE", "digits", "bf16"): 3}  # fmt: skip

    def minutes(name, method, dataset, precision, epochs=10):
        config = {"method": method, "protocol": {"dataset": dataset}, "precision": precision, "epochs": epochs}
        return record.minutes_of(name, config, known, guess=7)

    assert minutes("a", "CAE", "digits", "bf16") == 0.5
    assert minutes("a", "CAE", "cifar10", "bf16") == 1, "the slowest in this chapter and precision"
    assert minutes("b", "CAE", "cifar10", "fp32") == 100, "only the other precision was recorded"
    assert minutes("b", "VAE", "cifar10", "fp32") == 7


def test_methods_that_see_other_features_of_one_product_are_found_again(listed, tmp_path, capfd):
    """They make their task by one function, with other keywords."""
    few = dict(tier="smoke", dataset="parts", methods=["SPADE", "Mahalanobis-AD", "PatchCore-1"], studies=["7"])
    values = ", ".join(f"{name} = {value!r}" for name, value in few.items())
    listed.write_text(f'[[entry]]\nwhat = "few"\nchapter = "pseudo-anomalies"\nparameters = {{ {values} }}\n')
    assert record.main(["--here", "--into", str(tmp_path), "--minutes", "5", "--workers", "1"]) == 0
    assert "Left: 0 runs" in capfd.readouterr().out


def test_a_run_that_would_take_longer_than_there_is_time_is_not_begun(listed, tmp_path, capfd, monkeypatch):
    into = tmp_path / "runs"
    record.main(["--here", "--into", str(into), "--minutes", "10", "--workers", "1"])
    for path in (into / "comparing-autoencoders").glob("cae-*.json"):
        slow = records.read(path)
        slow["provenance"]["seconds"] = 660.0
        records.save(slow, path.parent)
    [gone, *_] = (into / "comparing-autoencoders").glob("cae-learning-rate*.json")
    gone.unlink()
    begun = []
    monkeypatch.setattr(record, "sweep", lambda jobs, *_, **__: begun.extend(jobs))
    assert record.main(["--here", "--into", str(into), "--minutes", "10"]) == 0 and begun == []
    assert record.main(["--here", "--into", str(into), "--minutes", "12"]) == 0 and len(begun) == 1


def test_a_run_that_diverges_is_named_and_does_not_stop_the_recording(listed, tmp_path, capfd, monkeypatch):
    def sweep(jobs, *_, **__):
        raise FloatingPointError(f"1 of {len(jobs)} runs failed, the others are recorded.")

    monkeypatch.setattr(record, "sweep", sweep)
    assert record.main(["--here", "--into", str(tmp_path / "runs"), "--minutes", "10"]) == 0
    out, err = capfd.readouterr()
    assert "record: 1 of " in err and "Recorded: 0 runs." in out and "Left: " in out


def test_a_wrong_name_or_entry_is_one_sentence(listed, capfd):
    assert record.main(["--list", "--name", "comparing"]) == 1
    assert capfd.readouterr().err.startswith("record: There is no chapter 'comparing'; the chapters are adversarial-")
    listed.write_text(LIST.replace("comparing-autoencoders", "comparing"))
    assert record.main(["--list"]) == 1
    assert "a chapter is one of adversarial-noise, comparing-autoencoders" in capfd.readouterr().err
    listed.write_text(LIST.replace("{ dataset = \"svhn\" }", "'svhn'"))
    assert record.main(["--list"]) == 1 and "'svhn'" in capfd.readouterr().err
    listed.write_text("[[entry]\n")
    assert record.main(["--list"]) == 1
    assert capfd.readouterr().err.startswith(f"record: {listed} is not TOML: ")


def test_a_folder_that_is_no_checkout_is_one_sentence(listed, monkeypatch, capfd):
    monkeypatch.setattr(record.records, "commit", lambda: "unknown")
    assert record.main(["--minutes", "1"]) == 1
    assert "record: this folder is no git checkout" in capfd.readouterr().err


def test_the_list_of_this_checkout_names_chapters_and_parameters_that_exist():
    for entry in record.entries():
        shown = chapter.NOTEBOOKS / f"{entry['chapter']}.ipynb"
        text = shown.read_text(encoding="utf-8")
        assert [name for name in entry["parameters"] if f'"{name} = None' not in text] == [], entry["what"]
    assert tomllib.loads(record.LIST.read_text())["entry"]
    assert {entry["chapter"] for entry in record.entries("mixer-autoencoder")} == {"mixer-autoencoder"}


@pytest.mark.parametrize("wrong", [["--workers", "1000000"], ["--stack", "0"], ["--minutes", "nan"],
                                   ["--minutes", "-5"]])  # fmt: skip
def test_numbers_that_nobody_could_mean_are_refused(wrong, tmp_path, capsys):
    assert record.main(["--here", "--into", str(tmp_path), *wrong]) == 1
    said = capsys.readouterr().err
    name = "MINUTES" if wrong[0] == "--minutes" else f"Parameter {wrong[0].removeprefix('--')}"  # as it was typed
    assert said.startswith(f"record: {name} ") and "must be above 0" in said and wrong[1] in said.replace(".0", "")


@pytest.mark.skipif("DATA_ROOT" not in os.environ, reason="the list is for real data")
def test_every_entry_of_the_list_can_be_run(capsys):
    for entry in record.entries():
        jobs, p = record.jobs_of(entry, None)
        if not jobs:  # a set that the tests' data may lack
            assert entry["parameters"]["dataset"] in ("cifar10", "cifar100", "coil100:0"), entry["what"]
            assert f"Passed over: {entry['what']} (" in capsys.readouterr().out
        else:
            assert p.tier == "paper", entry["what"]


def test_a_run_that_is_there_in_the_other_precision_is_not_missing(listed, tmp_path):
    folder = tmp_path / "runs" / "comparing-autoencoders"
    todo = record.missing(record.entries(), tmp_path / "runs")
    trained = next(config for _, _, config in todo if config["epochs"])
    done = {"config": trained | {"precision": "bf16"}, "metrics": [], "history": [], "images": {},
            "losses": [[0.5]] * trained["epochs"], "provenance": {"seconds": 1.0}}  # fmt: skip
    records.save(done, folder)
    assert len(record.missing(record.entries(), tmp_path / "runs")) == len(todo) - 1


def test_an_entry_may_keep_only_some_of_its_runs(listed, tmp_path):
    listed.write_text(LIST.replace("limit = 60 }", 'limit = 60 }\nonly = { variant = "", normal_class = "0" }'))
    todo = record.missing(record.entries(), tmp_path)
    assert {config["protocol"]["normal_class"] for *_, config in todo} == {"0"}
    assert {config["variant"] for *_, config in todo} == {""} and len(todo) == 3 + 1


def test_a_recording_that_is_killed_goes_on_from_its_records(listed, tmp_path):
    into = tmp_path / "runs"
    listed.write_text(LIST.replace("epochs = 2,", "epochs = 10,").split("[[entry]]\nwhat = \"one")[0])
    program = ("import sys; from pathlib import Path; from tools import record; record.LIST = Path(sys.argv.pop(1)); "
               "record.main(sys.argv[1:])")  # fmt: skip
    command = [sys.executable, "-c", program, listed, "--here", "--into", into, "--workers", "1"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(into.rglob("cae-*.json"))) < 1:
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.wait()
    kept = {path: path.read_bytes() for path in into.rglob("*.json")}
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300).returncode == 0
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert len(records.read_all(into / "comparing-autoencoders", method="CAE")) > 2


def test_a_clone_that_was_killed_half_way_is_not_taken_for_the_tree(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "COPY", tmp_path / "copies")
    monkeypatch.setattr(record.os, "execve", lambda *_: None)
    monkeypatch.setattr(record.os, "chdir", lambda *_: None)
    monkeypatch.setattr(record.os, "nice", lambda *_: None)
    clone = subprocess.run

    def killed(command, **options):
        if command[1] != "clone":
            return clone(command, **options)
        clone([*command[:2], "--no-checkout", *command[2:]], **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(record.subprocess, "run", killed)
        record.in_a_copy([], tmp_path / "runs")
    record.in_a_copy([], tmp_path / "runs")
    [tree] = (tmp_path / "copies").iterdir()
    assert (tree / "helpers").is_dir() and (tree / "tools").is_dir()
    assert (tree / "data/cache").is_symlink() == (record.ROOT / "data/cache").is_dir(), "downloads are seen there"


def test_the_copy_is_the_committed_tree_and_the_only_process(tmp_path):
    """A wrapper that waits for it would leave it behind when killed."""
    program = (f"from pathlib import Path; from tools import record; record.COPY = Path({str(tmp_path / 'copies')!r}); "
               f"record.main(['--minutes', '0.001', '--name', 'comparing-autoencoders', '--into', "
               f"{str(tmp_path / 'runs')!r}])")  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, text=True, stdout=subprocess.PIPE) as child:
        process, deadline = psutil.Process(child.pid), time.monotonic() + 60
        while not (script := " ".join(process.cmdline()[1:2])).startswith(str(tmp_path / "copies")):
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        assert process.nice() == min(os.nice(0) + 10, 19)
        assert "Left:" in child.communicate(timeout=300)[0]
    assert child.returncode == 0
    tree = Path(script).parent.parent
    head = [subprocess.run(["git", "-C", place, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
            for place in (tree, ROOT)]  # fmt: skip
    assert head[0] == head[1] and (tree / "notebooks").is_dir()
