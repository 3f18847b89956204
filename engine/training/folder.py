"""The folder of a run: the names of its files."""

from __future__ import annotations

# Files of a run folder; any of RUN_FILES with something in it makes the folder one that holds a run.
BEST, LAST, CONFIG, RESULT, LOG = "best.safetensors", "last.safetensors", "config.yaml", "result.json", "log.jsonl"
RUN_FILES = (BEST, LAST, RESULT, LOG)
