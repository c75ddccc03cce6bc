"""Files are whole or not there: for one writer, for several, and for one that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
