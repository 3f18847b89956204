"""Ablation studies over the engine: studies as YAML, a runner, a store of finished runs, statistics, reports."""
