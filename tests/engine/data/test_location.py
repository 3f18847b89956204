"""The order in which the folder of the data sets is looked for."""

from pathlib import Path

from engine.data.location import data_root


def test_option_then_key_then_variable_then_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CNN_DATA", "/variable")
    assert data_root(Path("/option"), "/key") == Path("/option")
    assert data_root(None, "/key") == Path("/key")
    assert data_root() == Path("/variable")
    monkeypatch.delenv("CNN_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    cache = data_root()
    assert tmp_path in cache.parents and cache.parts[-2:] == ("cnn-engine", "data") and not cache.exists()
