"""The live page: over HTTP, for this machine alone, and nothing but the page."""

import http.client
import shutil

import pytest

from engine.errors import UserError
from experiments.report import watch


def ask(address, path="/", method="GET", host=None):
    place = address.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(place, timeout=30)
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


@pytest.fixture
def address():
    with watch.served(lambda: "<p>the page</p>", 0) as address:
        yield address


def test_it_serves_the_page_to_this_machine_alone(address):
    assert address.startswith("http://127.0.0.1:")
    answer, body = ask(address)
    assert answer.status == 200 and body == "<p>the page</p>"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert ask(address, "/?again=1")[0].status == 200
    head, nothing = ask(address, method="HEAD")
    assert head.status == 200 and nothing == "" and head.headers["Content-Length"] == "15"
    assert ask(address, host="elsewhere.example")[0].status == 403


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/%2e%2e/pyproject.toml", "/study.sqlite", "//etc/passwd", "/runs/"]
)
def test_there_is_nothing_else_to_ask_for(address, path):
    assert ask(address, path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_cannot_be_written_to(address, method):
    assert ask(address, method=method)[0].status == 501


def test_a_page_that_cannot_be_made_is_an_error_and_not_the_end():
    def damaged():
        raise UserError("log.jsonl, line 2: is damaged")

    with watch.served(damaged, 0) as address:
        answer, body = ask(address)
        assert answer.status == 500 and "line 2: is damaged" in body
        assert ask(address)[0].status == 500


def test_a_taken_port_is_passed_over():
    with watch.served(lambda: "", 0) as first:
        taken = int(first.rsplit(":", 1)[1].rstrip("/"))
        with watch.served(lambda: "", taken) as second:
            assert second != first and ask(second)[0].status == 200


def test_the_page_follows_the_runs(reported, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(reported.store.root, root)
    page = watch.LivePage(reported.study, reported.planned, root)
    assert "data-refresh" not in page()  # all runs have ended
    last = reported.store.folder(reported.planned[0]).name
    shutil.rmtree(root / "runs" / last)
    for path in root.glob("study.sqlite*"):
        path.unlink()
    now = page()
    assert "data-refresh" in now and "runs missing" in now
    (root / "runs" / last).mkdir()
    (root / "runs" / last / "log.jsonl").write_text(
        '{"epoch": 1, "train_loss": 2.0, "val_macro_f1": 0.125, "val_accuracy": 0.5, "seconds": 1.5}\n'
    )
    now = page()
    assert "runs begun" in now and "1 of 2" in now and "0.1250" in now


def test_a_folder_remembers_its_study(reported, tmp_path):
    from experiments.records.store import Store

    asked = {"overrides": ["epochs=2"], "budget": "full", "rows": ["raw"], "seeds": [1]}
    watch.remember(Store(tmp_path), "quickstart", asked)
    study = watch.remembered(tmp_path)
    assert study.seeds == (1,) and [row.name for row in study.rows] == ["raw"] and study.rows[0].config.epochs == 2
    with pytest.raises(UserError, match="holds no study"):
        watch.remembered(tmp_path / "elsewhere")
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        watch.remembered(tmp_path)
