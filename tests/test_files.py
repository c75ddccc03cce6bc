"""Files are whole or not there, for writers that are several or killed; and only the book's own are replaced."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import files
from helpers.files import ABANDONED, whole

ROOT = Path(__file__).resolve().parent.parent
WRITER = """
import sys, time
from helpers.files import whole
for number in range(10**6):
    with whole(sys.argv[1]) as file:
        for _ in range(50):  # slowly, so that a kill comes in the middle
            file.write(b"%06d\\n" % number)
            file.flush()
            time.sleep(0.001)
    print(number, flush=True)
"""


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    with whole(path) as file:
        file.write(b"one")
        assert not path.exists()
    with whole(path) as file:
        file.write(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two" and list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), whole(path) as file:
        file.write(b"ne")
        raise error
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_writers_of_one_name_that_are_killed_leave_it_whole(tmp_path):
    path = tmp_path / "file"
    for _ in range(3):
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE)
                   for _ in range(2)]
        for writer in writers:
            writer.stdout.readline()  # it is at work
        for writer in writers:
            time.sleep(0.03)
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            assert writer.wait() == -signal.SIGKILL
            writer.stdout.close()
        lines = path.read_text().splitlines()
        assert len(lines) == 50 and len(set(lines)) == 1
    assert list(tmp_path.glob(".*.part")), "no kill came in the middle"


def test_what_killed_writers_left_goes_after_an_hour_and_nothing_else(tmp_path):
    names = {".abandoned.part": ABANDONED + 60, ".at-work.part": 60, "download.part": 10**6, ".hidden": 10**6}
    for name, age in names.items():
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with whole(tmp_path / "file"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {*names, "file"} - {".abandoned.part"}


def test_a_full_disk_is_named_by_the_file_that_found_no_room(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as error, whole(tmp_path / "file"):
        pass
    assert error.value.errno == errno.ENOSPC
    assert str(error.value).endswith(f"No space left on device: '{tmp_path}/file'")
    assert list(tmp_path.iterdir()) == []


# A reader's folder


def written(folder, *names):
    with files.renewed(folder, names):
        for name in names:
            (folder / name).write_text("ours")
    return sorted(path.name for path in folder.iterdir())


def test_only_files_that_the_book_wrote_are_deleted_or_replaced(tmp_path):
    (tmp_path / "overlay-07.png").write_text("mine")
    written(tmp_path, "scores.csv", "overlay-01.png", "overlay-02.png")
    assert written(tmp_path, "scores.csv", "overlay-01.png") == [
        "overlay-01.png", "overlay-07.png", "scores.csv", files.MANIFEST]  # fmt: skip
    with pytest.raises(FileExistsError, match="overlay-07.png is not, or no longer, what this book wrote"):
        written(tmp_path, "overlay-07.png")
    assert (tmp_path / "overlay-07.png").read_text() == "mine"


def test_a_file_that_a_reader_has_changed_is_the_readers(tmp_path):
    written(tmp_path, "scores.csv", "overlay-01.png", "overlay-02.png")
    for name in ("scores.csv", "overlay-02.png"):
        (tmp_path / name).write_text("ours, with my notes")
    with pytest.raises(FileExistsError, match="scores.csv is not, or no longer"):
        written(tmp_path, "scores.csv", "overlay-01.png")
    assert "overlay-01.png" in written(tmp_path, "overlay-01.png")
    assert {(tmp_path / name).read_text() for name in ("scores.csv", "overlay-02.png")} == {"ours, with my notes"}


def test_what_a_killed_writer_left_half_is_still_ours(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.renewed(tmp_path, ["scores.csv", "overlay-01.png"]):
        (tmp_path / "scores.csv").write_text("ha")
        raise KeyboardInterrupt
    assert written(tmp_path, "scores.csv") == ["scores.csv", files.MANIFEST]


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_of_the_readers_is_not_written_through(tmp_path, dangling):
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.csv").symlink_to(tmp_path / "nowhere" if dangling else target)
    with pytest.raises(FileExistsError, match="scores.csv"):
        written(tmp_path / "out", "scores.csv")
    assert target.read_text() == "mine" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("manifest", [b"  ../precious\n", b"../precious\n", b"  ..\n", b"\xff\xfe\n\0"])
def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path, manifest):
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out" / files.MANIFEST).write_bytes(manifest + f"  {tmp_path / 'precious'}\n".encode())
    assert written(tmp_path / "out") == [files.MANIFEST]
    assert (tmp_path / "precious").exists()


def test_an_output_that_cannot_be_written_is_said_before_anything_is_computed(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PermissionError, match="file is not a folder"):
        files.check_output(tmp_path / "file" / "result", ["scores.csv"])
    if Path("/proc/self").exists():  # nobody can write there, though root's permissions say otherwise
        with pytest.raises(PermissionError, match="/proc is not a folder that you may write to"):
            files.check_output("/proc/nope", ["scores.csv"])
    files.check_output(tmp_path / "new" / "folder", ["scores.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
