"""The store of records: whole whatever happens to the process, refused where they are not what was asked for."""

import errno
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import time

import numpy as np
import pytest
import torch

from helpers import records

FORK = multiprocessing.get_context("fork")


def a_record(number=0, size=10, **config):
    config = {"method": "m", "seed": number, "protocol": {}, "settings": {}, "epochs": size, **config}
    return {"config": config, "metrics": [{"auroc": 0.5}], "history": [], "images": {"score": [0.5] * 3},
            "losses": [[0.25]] * size, "provenance": {"seconds": 1.5}}  # fmt: skip


def test_a_record_is_found_by_its_configuration(tmp_path):
    saved = records.save(a_record(), tmp_path)
    [path] = tmp_path.iterdir()
    assert path.name == f"m-{records.key(saved['config'])}.json" and path.stat().st_mode & 0o777 == 0o644
    assert records.read(path) == saved == records.find(saved["config"], tmp_path)
    assert records.find(saved["config"] | {"seed": 1}, tmp_path) is None
    named = records.save(a_record(variant="λ = 0.005"), tmp_path)
    assert records.path_of(named["config"], tmp_path).name.startswith("m-0-005-")


def test_a_record_under_anothers_name_is_not_taken_for_it(tmp_path):
    one, other = records.save(a_record(0), tmp_path), a_record(1)
    records.path_of(other["config"], tmp_path).write_bytes(records.path_of(one["config"], tmp_path).read_bytes())
    with pytest.raises(ValueError, match="holds the record of another run; delete it to run again"):
        records.find(other["config"], tmp_path)


def test_a_copy_beside_a_record_is_not_counted_twice(tmp_path):
    path = records.path_of(records.save(a_record(), tmp_path)["config"], tmp_path)
    path.with_stem(f"{path.stem} (1)").write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"\(1\).json holds the record of another run; delete it"):
        records.read_all(tmp_path)


def test_a_record_has_a_line_a_fact(tmp_path):
    record = a_record(3) | {"metrics": [{"auroc": 0.5, "score": "l1"}, {"auroc": 0.25, "score": "é"}]}
    text = records.to_text(record)
    assert json.loads(text) == record
    assert ' {"auroc": 0.5, "score": "l1"},\n' in text and '  "score": [0.5, 0.5, 0.5]\n' in text and '"é"' in text
    bare = {**record, "history": [], "images": {}}
    assert json.loads(records.to_text(bare)) == bare


def test_numbers_keep_so_many_digits():
    assert records.rounded(np.array([1 / 3, 2e9 / 3, 5])) == [0.333333, 666667000.0, 5.0]
    assert records.rounded({"a": torch.tensor([[1, 2]]), "b": "text", "c": np.float32(0.1)}) == {
        "a": [[1, 2]], "b": "text", "c": 0.1}  # fmt: skip


# Whole or absent


def test_numbers_that_json_does_not_know_are_refused_and_leave_nothing(tmp_path):
    record = a_record()
    record["metrics"][0]["auroc"] = float("nan")
    with pytest.raises(ValueError, match="metrics of a run of"):
        records.save(record, tmp_path)
    with pytest.raises(ValueError, match="losses"):
        records.save(a_record() | {"losses": []}, tmp_path)
    assert list(tmp_path.iterdir()) == []


WRONG = [{"metrics": {"auroc": 1}}, {"metrics": ["auroc"]}, {"metrics": [{"auroc": None}]},
         {"metrics": [{"auroc": "0.9"}]}, {"metrics": [{}]}, {"history": [{"auroc": 0.5}]}, {"images": {"score": 0.5}},
         {"images": {"score": ["0.5"]}}, {"losses": None}, {"losses": []}, {"losses": [[0.25]] * 9},
         {"losses": [0.25] * 10}, {"losses": [[None]] * 10}, {"config": {"seed": 0}},
         {"config": a_record()["config"] | {"epochs": None}}, {"config": None}, {"provenance": []},
         {"provenance": {"seconds": "long"}}, dict.fromkeys(records.PARTS)]  # fmt: skip
TEXT = records.to_text(a_record())
NO_NUMBERS = [TEXT.replace("0.25", "NaN"), TEXT.replace("0.25", "1e999"), TEXT.replace("0.25", "9" * 5000), "[" * 10**5]


@pytest.mark.parametrize("content", [b"", b'{"config": {', b"\xff\xfe", b"[]", b'{"metrics": {}}', b"null",
                                     *(records.to_text(a_record() | wrong).encode() for wrong in WRONG),
                                     *map(str.encode, NO_NUMBERS)])  # fmt: skip
def test_a_damaged_record_is_named_in_one_sentence(content, tmp_path):
    path = tmp_path / "m-0123456789abcdef.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        records.read_all(tmp_path)
    assert str(error.value).startswith(f"{path} is not the record of a run (")
    assert str(error.value).endswith("delete it to run again.") and "\n" not in str(error.value)


def test_records_are_chosen_by_their_configuration(tmp_path):
    for seed in range(3):
        records.save(a_record(seed, size=5 + seed % 2), tmp_path)
    assert {r["config"]["seed"] for r in records.read_all(tmp_path)} == {0, 1, 2}
    assert {r["config"]["seed"] for r in records.read_all(tmp_path, epochs=5)} == {0, 2}
    assert records.read_all(tmp_path, epochs=5, seed=1) == []
    assert records.read_all(tmp_path / "nowhere") == []


def save_for_ever(folder, first):
    for number in range(first, 10**6):
        records.save(a_record(number % 7, size=2000), folder)


def test_sigkill_at_any_moment_leaves_only_whole_records(tmp_path):
    moments = random.Random(0)
    for k in range(25):
        child = FORK.Process(target=save_for_ever, args=(tmp_path, k))
        child.start()
        time.sleep(moments.uniform(0.005, 0.08))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert all(record == a_record(record["config"]["seed"], size=2000) for record in records.read_all(tmp_path))
    assert 0 < len(records.read_all(tmp_path)) <= 7, "one for each configuration that a child came to"
    assert any(tmp_path.glob(".*.part")), "no kill came in the middle of a save, so nothing was tested"


def save_many(folder, own):
    for number in range(60):
        records.save(a_record(-1, size=500), folder)  # the same record as the other process
        records.save(a_record(number, size=500, own=own), folder)


def test_two_processes_save_the_same_and_different_records_at_once(tmp_path):
    children = [FORK.Process(target=save_many, args=(tmp_path, own)) for own in "ab"]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        records.read_all(tmp_path)  # raises where a reader sees half a record
    assert [child.exitcode for child in children] == [0, 0]
    assert len(records.read_all(tmp_path)) == 1 + 2 * 60
    assert not list(tmp_path.glob(".*"))


def save_without_room(folder, answer):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the kernel refuses the 1001st byte of any file
    try:
        records.save(a_record(1, size=2000), folder)
    except OSError as error:
        answer.put(error.errno)


def test_a_write_that_the_system_refuses_loses_nothing_finished(tmp_path):
    records.save(a_record(0), tmp_path)
    records.save(a_record(1), tmp_path)
    answer = FORK.Queue()
    child = FORK.Process(target=save_without_room, args=(tmp_path, answer))
    child.start()
    assert answer.get(timeout=30) == errno.EFBIG
    child.join()
    assert {r["config"]["seed"]: r for r in records.read_all(tmp_path)} == {0: a_record(0), 1: a_record(1)}
    assert not list(tmp_path.glob(".*")), "half a file was left behind"


def test_a_full_disk_at_the_last_moment_leaves_the_old_record(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    records.save(a_record(0), tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        records.save(a_record(0, size=3), tmp_path)
    assert records.read_all(tmp_path) == [a_record(0)]
    assert not list(tmp_path.glob(".*"))


def test_a_commit_says_whether_files_have_changed_since(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROOT", tmp_path)
    assert records.commit() == "unknown"
    (tmp_path / "file").write_text("one")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init"], ["add", "."], [*who, "commit", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    clean = records.commit()
    (tmp_path / "new").touch()
    assert len(clean) == 12 and records.commit() == clean, "a file that git does not know changes no number"
    (tmp_path / "file").write_text("two")
    assert records.commit() == clean + "+"


def test_no_more_records_come_from_files_that_are_in_no_commit():
    found = [path for path in records.RECORDED.glob("*/*.json")
             if records.read(path)["provenance"]["commit"].endswith("+")]  # fmt: skip
    assert len(found) <= 35, "those were made before `make record` worked in a clean copy"
