"""The command: it listens, answers over a socket, ends with a signal; what cannot be is one line and status 2."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.preprocess import Preprocess
from engine.models.mnist import mnist_cnn
from engine.serving.command import listening

ROOT = Path(__file__).resolve().parents[3]


def command(*words):
    return [sys.executable, "-m", "engine.serve", *map(str, words)]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    net = mnist_cnn()
    net.preprocess = Preprocess(size=(28, 28)).to_dict()
    path = tmp_path_factory.mktemp("serve") / "net.safetensors"
    net.save(path)
    return path


def heeding_interrupts():
    """What a shell runs in the background ignores them, and so would the processes that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def served(*words):
    """A server on a free port; its address, and its process."""
    pytest.importorskip("starlette", reason="the server needs starlette")
    pytest.importorskip("uvicorn", reason="the server needs uvicorn")
    with subprocess.Popen(
        command(*words, "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=heeding_interrupts,
    ) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            assert line.endswith(" answers; Ctrl-C ends it\n"), process.stderr.read()
            yield line.split()[0], process
        finally:
            process.kill()


def ask(address, data=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data), timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_it_answers_over_a_socket_and_ends_with_a_signal(network):
    data = cv2.imencode(".png", np.full((40, 30), 99, np.uint8))[1].tobytes()
    with served(network, "--workers", "2", "--most-megabytes", "0.1") as (address, process):
        assert address.startswith("http://127.0.0.1:")
        status, body = ask(f"{address}/predict?top=1", data)
        assert status == 200 and json.loads(body)["top"][0]["label"] == json.loads(body)["label"]
        assert json.loads(ask(f"{address}/healthz")[1])["status"] == "ok"
        status, page = ask(f"{address}/")
        assert status == 200 and b"<h1>net</h1>" in page
        status, body = ask(f"{address}/predict", b"x" * 300_000)
        assert status == 413 and json.loads(body) == {"error": "the body has more than the 100000 bytes allowed"}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == "interrupted\n"


def test_several_networks_answer_together_and_have_no_page(network, tmp_path):
    other = mnist_cnn(seed=1)
    other.preprocess = Preprocess(size=(28, 28)).to_dict()
    other.save(tmp_path / "other.safetensors")
    with served(network, tmp_path / "other.safetensors", "--workers", "1") as (address, _):
        assert json.loads(ask(f"{address}/healthz")[1])["networks"] == ["net.safetensors", "other.safetensors"]
        status, body = ask(f"{address}/")
        assert status == 404 and "a page holds one network, and 2 answer together" in json.loads(body)["error"]


def failed(*words):
    done = subprocess.run(command(*words), capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    "words, said",
    [
        (("--port", "70000"), "--port: expected 0 to 65535, got 70000"),
        (("--workers", "0"), "--workers: expected 1 to 256, got 0"),
        (("--most-megabytes", "nan"), "--most-megabytes: expected a number above 0, up to 1000, got nan"),
        (("--host", "no.such.host.invalid"), "no.such.host.invalid:8000: cannot be listened on"),
    ],
    ids=["port", "workers", "megabytes", "host"],
)
def test_what_cannot_be_is_one_line(network, words, said):
    pytest.importorskip("uvicorn", reason="the server needs uvicorn")
    assert said in failed(network, *words)


def test_a_port_in_use_and_a_network_that_is_none(network, tmp_path):
    pytest.importorskip("uvicorn", reason="the server needs uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}: cannot be listened on (" in failed(network, "--port", port)
    (tmp_path / "net.safetensors").write_bytes(b"none")
    assert str(tmp_path / "net.safetensors") in failed(tmp_path / "net.safetensors")


def test_without_its_packages_it_says_which(network):
    code = "import sys; sys.modules['uvicorn'] = None; from engine.serve import command; sys.exit(command())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(network)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == 'error: serving needs Starlette and uvicorn: pip install "cnn-engine[serve]"\n'


def test_what_it_accepts_sends_at_once():
    """An answer's body does not wait for the receipt of its head."""
    with listening("127.0.0.1", 0) as door, socket.create_connection(door.getsockname()) as client:
        accepted, _ = door.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.getpeername() == door.getsockname()
