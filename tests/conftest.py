"""Fixtures that all tests share."""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

PACKED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test has the same name in every process: those that share a run are told by it what to do."""
    if addresses := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"the names of tests hold addresses; give them ids: {addresses[0]}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    """What a test has printed is sent from process to process as UTF-8: signs that are none are spelled."""
    made = yield
    report = made.get_result()
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]


@pytest.fixture(scope="session", autouse=True)
def sample_caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the tests' own for prepared images, for the commands that they start too."""
    folder = tmp_path_factory.mktemp("samples")
    os.environ["CNN_CACHE"] = str(folder / "shared")
    return folder


@pytest.fixture(autouse=True)
def sample_cache(sample_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another has prepared."""
    monkeypatch.setenv("CNN_CACHE", str(sample_caches / uuid.uuid4().hex))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets: CNN_DATA, or the packed copy beside the repository, unpacked once per machine."""
    if given := os.environ.get("CNN_DATA"):
        return Path(given)
    script = PACKED / "unpack.py"
    if not script.is_file():
        pytest.skip("the real data sets are not at hand: set CNN_DATA to the folder that holds them")
    folder = Path(tempfile.gettempdir()) / f"cnn-engine-data-{_content_hash(PACKED)}"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes of one test run, one unpacks
        if not (folder / ".complete").exists():
            # Sets that are whole already are kept, so an unpacking that was cut off goes on.
            done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"the packed data sets could not be unpacked: {done.stderr.strip().splitlines()[-1:]}")
            (folder / ".complete").touch()
    return folder


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.iterdir() if each.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
