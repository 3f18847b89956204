"""Run an ablation study and print its table: `python -m experiments.ablation`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli import run

if TYPE_CHECKING:
    from experiments.config import Study
    from experiments.keys import Run
    from experiments.report.table import Table
    from experiments.store import Store


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ablation",
        description="Train every row of a study over its seeds, print the table, and keep every run on record: "
        "the same command again runs only what is missing.",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings for all rows, such as epochs=3")
    parser.add_argument("--study", metavar="NAME", help="which study, or a file NAME.yaml (default: quickstart)")
    parser.add_argument("--budget", default="full", metavar="NAME", help="run a smaller version of it (see --list)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default: runs/NAME)")
    parser.add_argument("--rows", metavar="A,B", help="only these rows, separated by commas")
    parser.add_argument("--seeds", metavar="0,1", help="these seeds instead of the study's, separated by commas")
    parser.add_argument("--no-report", action="store_true", help="write the tables alone, no report.html")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="show a live page at http://127.0.0.1 while runs go on (also: python -m experiments.report.watch DIR)",
    )
    parser.add_argument("--list", action="store_true", help="list the studies, their rows, seeds, budgets, and stop")
    parser.add_argument(
        "--check", action="store_true", help="check every study (or --study NAME) without data or training, and stop"
    )
    parser.add_argument(
        "--search", action="store_true", help="run the study's search by Optuna instead of its rows (extra [search])"
    )
    return parser.parse_intermixed_args(arguments)


def parse_seeds(text: str | None) -> tuple[int, ...]:
    """`0,1,2` as numbers; UserError for anything else."""
    from engine.errors import UserError

    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--seeds takes whole numbers separated by commas, got {text!r}")
    return tuple(map(int, parts))


def list_studies() -> None:
    """Print the studies that come with the package."""
    from experiments.config import load_study, study_names
    from experiments.study.check import describe

    for name in study_names():
        study = load_study(name)
        print(f"{study.name}: {study.title}")
        print(f"  seeds {', '.join(map(str, study.seeds))}; {describe(study)}")
        for budget in study.budgets:
            print(f"  --budget {budget.name}: {budget.how}")
        group = ""
        for row in study.rows:
            if row.group != group:
                group = row.group
                print(f"  {group}:")
            print(f"  {'  ' if group else ''}{row.name}{f' (the runs of {row.same_as})' if row.same_as else ''}")


def run_ablation(options: argparse.Namespace) -> None:
    """Run the study that the options describe, or its search; print its table and write it beside the runs."""
    from experiments.config import load_study, select
    from experiments.progress import progress_for
    from experiments.report.table import study_table
    from experiments.report.watch import LivePage, remember, served
    from experiments.runner import planned_graph, run_graph
    from experiments.store import Store

    rows = [name.strip() for name in options.rows.split(",")] if options.rows else []
    whole = load_study(options.study or "quickstart", options.overrides, options.budget)
    study = select(whole, rows, parse_seeds(options.seeds))
    store = Store(options.out or Path("runs") / study.name)
    if options.search:
        return search_and_report(study, store)
    graph = planned_graph(study, store)
    planned = [task.run for task in graph.rows]
    asked = {"overrides": options.overrides, "budget": options.budget, "rows": rows, "seeds": list(study.seeds)}
    remember(store, options.study or "quickstart", asked)
    with ExitStack() as stack:
        if options.watch:
            address = stack.enter_context(served(LivePage(study, planned, store.root)))
            print(f"live page: {address}", file=sys.stderr, flush=True)
        progress = stack.enter_context(closing(progress_for([task.run for task in graph.tasks], study.metric)))
        results = run_graph(graph, store, progress)
    publish(study_table(study, results), "table", store)
    if not options.no_report:
        publish_page(study, planned, store)


def publish_page(study: Study, planned: Sequence[Run], store: Store) -> None:
    """Write report.html; where it cannot be made, or not whole, a line on stderr says why."""
    from engine.errors import UserError
    from experiments.report.provenance import shown_command
    from experiments.report.write import write_report

    try:
        report = write_report(study, planned, store, shown_command(sys.argv))
    except UserError as error:  # the tables are there all the same
        print(f"no report.html: {error}", file=sys.stderr)
        return
    for text in report.missing:
        print(f"not in report.html: {text}", file=sys.stderr)
    print(f"written: {report.path}")


def search_and_report(study: Study, store: Store) -> None:
    """Run the study's search, with a line on stderr for each trial that ended, and print and write its table."""
    from experiments.search import Trial, run_search, search_table

    def say(trial: Trial) -> None:
        total = study.search.trials if study.search else 0
        outcome = trial.error if trial.value is None else f"{study.metric} {trial.value:.4f}"
        settings = " ".join(f"{name}={value}" for name, value in trial.values.items())
        line = f"[{trial.number + 1}/{total}] trial {trial.number} {settings}: {trial.status} {outcome}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    publish(search_table(study, run_search(study, store, say)), "search", store)


def publish(table: Table, name: str, store: Store) -> None:
    """Print a table and write it beside the runs, once in each format."""
    from experiments.report.render import csv_text, latex, markdown, terminal

    print(terminal(table))
    texts = {"md": markdown(table), "tex": latex(table), "csv": csv_text(table)}
    written = [store.write_text(f"{name}.{suffix}", text) for suffix, text in texts.items()]
    print(f"written: {', '.join(map(str, written))}; each run's log: {store.root / 'runs'}")


def main() -> None:
    options = parse_arguments()
    if options.list:
        list_studies()
    elif options.check:
        from experiments.study.check import check_studies

        check_studies([options.study] if options.study else [])
    else:
        run_ablation(options)


if __name__ == "__main__":
    sys.exit(run(main))
