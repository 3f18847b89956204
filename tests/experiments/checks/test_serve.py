"""The check of the server, in small: it counts wrong answers, and compares by the better number of workers."""

import argparse
import asyncio
import json

import pytest

from experiments.checks import serve
from experiments.checks.serve import OURS, PEER, Expected, Round
from experiments.measuring.networks import NETWORKS

pytest.importorskip("uvicorn", reason="the server needs uvicorn")
pytest.importorskip("starlette", reason="the server needs starlette")


def test_every_answer_is_checked(tmp_path, capsys, monkeypatch):
    words = ["--networks", "mnist_cnn", "--alone", "--rounds", "1", "--requests", "20", "--connections", "4"]
    assert serve.main(words) == 0
    said = capsys.readouterr().out
    assert "1 rounds of 20 requests over 4 connections" in said and said.endswith("verdict: no wrong answer\n")
    assert OURS in said and PEER not in said
    monkeypatch.setattr(Expected, "fits", lambda *_: False)
    assert serve.main(words) == 1
    assert "FAILED" in capsys.readouterr().out


def test_what_is_a_wrong_answer():
    expected = Expected(b"", "7", 0.5)
    body = {"label": "7", "probability": 0.500001}
    assert expected.fits(200, json.dumps(body).encode())
    assert not expected.fits(503, json.dumps(body).encode())
    assert not expected.fits(200, json.dumps({**body, "label": "1"}).encode())
    assert not expected.fits(200, json.dumps({**body, "probability": 0.5001}).encode())


def test_sides_stand_beside_each_other_by_their_better_number_of_workers():
    found = {
        (OURS, 1): [Round(rate, 1, 1, 0) for rate in (90, 100, 500)],
        (OURS, 2): [Round(120, 1, 1, 0)],
        (PEER, 1): [Round(80, 1, 1, 0)],
        (PEER, 2): [Round(40, 1, 1, 0)],
    }
    assert serve.beside(found) == 1.5
    assert "100 (95 ... 300)" in serve.line(OURS, 1, found[OURS, 1])


def test_the_other_sides_network_says_the_same(tmp_path):
    pytest.importorskip("onnx", reason="the network is handed over as ONNX")
    pytest.importorskip("onnxruntime", reason="it is compared with ONNX Runtime")
    path, expected = serve.prepare(NETWORKS["mnist_cnn"], tmp_path, True)
    with serve.server(PEER, 2, path) as port:
        one = asyncio.run(serve.load(port, expected[:30], 3, 30))
    assert one.wrong == 0


@pytest.mark.parametrize("word", ["--connections", "--requests", "--rounds"])
def test_numbers_begin_at_one(word):
    options = argparse.Namespace(connections=1, requests=1, rounds=1)
    setattr(options, word.strip("-"), 0)
    with pytest.raises(serve.UserError, match="at least 1 each"):
        serve.check(options)
