"""Files are complete or absent, written by one command at a time, and replaced only when that is asked for."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from toy_score.files import locked, replacing, shown

HOLD = """
import sys, time
from toy_score.files import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_messages_show_a_path_below_the_working_directory_from_there_on_and_any_other_as_it_was_given(
    tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shown(tmp_path / "here" / "runs" / "x.html") == os.path.join("runs", "x.html")
    assert shown("runs/x.html") == os.path.join("runs", "x.html")
    assert shown(tmp_path / "x.html") == str(tmp_path / "x.html")
    assert shown("../x.html") == "../x.html"
    assert shown("..x.html") == "..x.html"  # a name, not the folder above


def test_a_file_that_another_command_writes_is_refused_in_one_line(tmp_path):
    path = tmp_path / "x.csv"
    with locked(path):
        with pytest.raises(BlockingIOError) as error, locked(path):
            pass
        assert str(error.value) == (
            f"another command is writing {str(path)!r}; wait for it, or choose another --output"
        )
        with locked(tmp_path / "y.csv"):
            pass
    with locked(path):  # again, once it is free
        pass
    assert os.listdir(tmp_path) == []


def test_a_killed_command_leaves_nothing_locked(tmp_path):
    path = tmp_path / "x.csv"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), locked(path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with locked(path):
        pass
    assert os.listdir(tmp_path) == []


def test_only_one_process_holds_a_lock_whose_file_is_removed(tmp_path):
    """Many threads take and release the lock; a lock on a file that another has removed would not exclude a third."""
    inside, together, entered = threading.Semaphore(1), [], []
    end = time.monotonic() + 1.0

    def work():
        while time.monotonic() < end:
            try:
                with locked(tmp_path / "x.csv"):
                    if not inside.acquire(blocking=False):
                        together.append(1)
                        return
                    entered.append(1)
                    time.sleep(0)
                    inside.release()
            except BlockingIOError:
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together
    assert len(entered) > 10


def test_a_lock_whose_file_is_removed_while_another_waits_is_not_taken(tmp_path):
    first, second = FileLock(tmp_path / "x.lock"), FileLock(tmp_path / "x.lock")
    first.acquire()
    waiter = threading.Thread(target=lambda: second.acquire(timeout=5), daemon=True)
    waiter.start()
    os.unlink(first.lock_file)
    first.release()
    waiter.join()
    with pytest.raises(Timeout):
        FileLock(tmp_path / "x.lock").acquire(blocking=False)


def test_a_missing_folder_is_not_created(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"), locked(tmp_path / "none/x.csv"):
        pass
    assert os.listdir(tmp_path) == []


def test_an_unfinished_file_leaves_the_old_one(tmp_path):
    path = Path(tmp_path / "x.csv")
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as file:
        print("text, not bytes", file=file)
    assert path.read_text() == "old"
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.csv"]
