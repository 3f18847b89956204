"""Training: one step, a run with its folder and log, schedules and metrics."""
