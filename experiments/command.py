"""What `python -m experiments.ablation` does."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.errors import UserError
from experiments.choosing import chosen_rows, chosen_scheduler, chosen_study, executor_of, jobs_of, store_of
from experiments.learned import FOLDER as FOLDER_OF_PICTURES
from experiments.options import parse_seeds
from experiments.records.export import LEDGER, check_format, export
from experiments.records.ledger import FOLDER, Entry, merged, read_ledger, write_ledger
from experiments.records.planned import planned_graph
from experiments.records.recalled import asked_graph, entries_of, recalled, with_seeds
from experiments.records.result import checkpoint_of
from experiments.records.standing import Standing, results_of, standings
from experiments.records.status import status_text
from experiments.records.store import Store
from experiments.report.provenance import shown_command
from experiments.report.render import csv_text, latex, markdown, terminal
from experiments.report.search import search_table
from experiments.report.summary import StudySummary, summarize
from experiments.report.table import Table, study_table
from experiments.report.watch import LivePage, remember, served
from experiments.report.write import write_report
from experiments.running.estimate import Estimator, estimate_lines, summary
from experiments.running.executors import threads_each
from experiments.running.progress import progress_for
from experiments.running.runner import run_graph
from experiments.running.search import Trial, run_search
from experiments.running.verify import BAD, checks, drawn, lines_by_row, outcome, part, reduced
from experiments.study.check import check_studies, describe
from experiments.study.packaged import study_names
from experiments.study.read import load_study
from experiments.study.study import Study, seeds_of
from experiments.tasks.graph import Graph
from experiments.tasks.keys import Run
from experiments.undecided import with_next_seeds


def ablate(options: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit status."""
    if options.list:
        list_studies()
    elif options.check:
        check_studies([options.study] if options.study else [], overrides=options.overrides)
    elif options.dry_run:
        estimate(options)
    elif options.status or options.export:
        look(options)
    elif options.verify is not None:
        return verify(options)
    elif options.ledger:
        return recall(options)
    else:
        return run_ablation(options)
    return 0


def list_studies() -> None:
    """Print the studies that come with the package."""
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


def chosen_entries(options: argparse.Namespace, entries: Sequence[Entry]) -> list[Entry]:
    """The lines of a ledger with the seeds after --seeds; all without that."""
    seeds = parse_seeds(options.seeds)
    return [each for each in entries if not seeds or each.seed in seeds]


def run_ablation(options: argparse.Namespace) -> int:
    """Run the study, or its search; print its table and write it beside the runs. 1 where a run failed, or none
    finished, else 0."""
    study = chosen_study(options)
    store = store_of(options, study)
    if options.search:
        return search_and_report(study, store)
    study = dataclasses.replace(study, sequential=options.until_decided is not None)
    while True:
        planned, statuses = train(study, store, options)
        runs = standings(planned, store, options.accept_code)
        if options.until_decided is None:
            break
        further = with_next_seeds(study, summarize(study, results_of(runs)), options.until_decided)
        if further == study:
            break
        study = further
        tell_further(study)
    tell(study, runs, store, options)
    return int("failed" in statuses or "finished" not in statuses)


def tell_further(study: Study) -> None:
    """Say on stderr which rows are open, and get more seeds."""
    told = [f"{row.name}: {len(seeds_of(study, row))}" for row in study.rows if row.more_seeds]
    print(f"seeds of rows that are not decided: {', '.join(told)}", file=sys.stderr, flush=True)


def train(study: Study, store: Store, options: argparse.Namespace) -> tuple[list[Run], set[str]]:
    """Train what is missing of the study: the runs of its rows, and how those ended."""
    scheduler = chosen_scheduler(options)
    with ExitStack() as stack:
        # First: what is wrong with -j or --scheduler shows before anything is written.
        executor = stack.enter_context(closing(executor_of(options, scheduler, store)))
        graph = planned_graph(study, store)
        if not options.accept_code:
            tell_stale(graph, store)
        tell_lost(standings(graph.runs, store, options.accept_code))
        planned = [task.run for task in graph.rows]
        asked = {"overrides": options.overrides, "budget": options.budget, "rows": chosen_rows(options)}
        begin = partial(remember, store, options.study or "quickstart", {**asked, "seeds": list(study.seeds)})
        if options.watch:
            address = stack.enter_context(served(LivePage(study, planned, store.root, options.accept_code)))
            print(f"live page: {address}", file=sys.stderr, flush=True)
        progress = progress_for(graph.runs, study.metric, executor.capacity)
        stack.enter_context(closing(progress))
        results = run_graph(
            graph,
            store,
            progress,
            executor=executor,
            fail_fast=options.fail_fast,
            accept_code=options.accept_code,
            begin=begin,
            pictures=None if options.no_report else store.root / FOLDER_OF_PICTURES,
        )
    return planned, {result.status for result in results}


def tell(
    study: Study, runs: Sequence[Standing], store: Store, options: argparse.Namespace, images: bool = True
) -> None:
    """Print the table of the runs, and write it and the report; `images` as in `write_report`."""
    summarized = summarize(study, results_of(runs))
    table = study_table(study, summarized)
    said = [write_table(table, "table", store)]
    if not options.no_report:
        said += write_page(study, summarized, runs, store, images)
    print("\n".join([terminal(table), *said]))


def recall(options: argparse.Namespace) -> int:
    """Tables and report of a ledger's results; 1 where it has none of the study's rows, else 0."""
    study = chosen_study(options)
    entries = chosen_entries(options, read_ledger(options.ledger))
    store = Store(options.out or Path("runs") / f"ledger-{study.name}")
    found = recalled(study, entries, store.root)
    if found.passed and not (options.rows or options.seeds):
        lines = f"{found.passed} of {len(entries)} lines"
        print(f"{options.ledger}: {lines} are of other rows or settings, and do not count", file=sys.stderr)
    tell(found.study, found.runs, store, options, images=False)
    return int(not results_of(found.runs))


def verify(options: argparse.Namespace) -> int:
    """Train runs of a ledger anew and compare them bit for bit; 0 where all are verified, or agree where bits cannot be
    compared, else 1."""
    study = chosen_study(options)
    path = options.ledger or FOLDER / f"{study.name}.jsonl"
    if not path.is_file():
        raise UserError(f"{path}: no such ledger; --ledger FILE.jsonl names one")
    entries = read_ledger(path)
    chosen = drawn(study, chosen_entries(options, entries), options.verify, options.draw)
    study = reduced(study, chosen)
    asked = {(task.run.row, task.run.seed): task.run for task in asked_graph(study).tasks}
    with TemporaryDirectory(prefix="verify-") as folder:
        store = Store(options.out or Path(folder))
        with closing(executor_of(options, None, store)) as executor, closing(store):
            graph = part(planned_graph(study, store), chosen)
            with closing(progress_for(graph.runs, study.metric, executor.capacity)) as progress:
                run_graph(graph, store, progress, executor=executor, fail_fast=options.fail_fast)
            results = {run.key: result for run in graph.runs if (result := store.result(run)) is not None}
    found = checks(graph, results, asked, entries, lines_by_row(study, entries))
    print("\n".join([*map(str, found), outcome(found)]))
    return int(not found or any(each.word in BAD for each in found))


def tell_stale(graph: Graph, store: Store) -> None:
    """Say on stderr how many results on record are those of other code, and will be trained again."""
    stale = sum(each.state == "stale" for each in standings(graph.runs, store))
    if stale:
        told = f"{stale} {'results' if stale > 1 else 'result'} on record"
        print(f"{told} came from other code and will be trained again; --accept-code keeps them", file=sys.stderr)


def tell_lost(runs: Sequence[Standing]) -> None:
    """Say on stderr how many finished runs on record have no checkpoint any more."""
    found = [checkpoint_of(each.result, each.run) for each in runs if each.result and each.state == "finished"]
    lost = [path for path in found if not path.is_file()]
    if lost:
        told = f"{len(lost)} results on record have lost their networks, such as {lost[0]}"
        if len(lost) == 1:
            told = f"1 result on record has lost its network: {lost[0]}"
        print(f"{told}; their figures count, and only what another run needs is trained again", file=sys.stderr)


def write_page(
    study: Study, summarized: StudySummary, runs: Sequence[Standing], store: Store, images: bool = True
) -> list[str]:
    """Write report.html; where it cannot be made, or not whole, a line on stderr says why. The line that says where it
    is, if it is."""
    try:
        report = write_report(study, summarized, runs, store, shown_command(sys.argv), images)
    except UserError as error:  # the tables are there all the same
        print(f"no report.html: {error}", file=sys.stderr)
        return []
    for text in report.missing:
        print(f"not in report.html: {text}", file=sys.stderr)
    return [f"written: {report.path}"]


def search_and_report(study: Study, store: Store) -> int:
    """Run the study's search, with a line on stderr for each trial that ended, and print and write its table. 1
    where no trial finished, else 0."""

    def say(trial: Trial) -> None:
        total = study.search.trials if study.search else 0
        outcome = trial.error if trial.value is None else f"{study.metric} {trial.value:.4f}"
        settings = " ".join(f"{name}={value}" for name, value in trial.values.items())
        line = f"[{trial.number + 1}/{total}] trial {trial.number} {settings}: {trial.status} {outcome}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    trials = run_search(study, store, say)
    table = search_table(study, trials)
    written = write_table(table, "search", store)
    print(f"{terminal(table)}\n{written}")
    return int(not any(trial.status == "finished" for trial in trials))


def write_table(table: Table, name: str, store: Store) -> str:
    """Write a table beside the runs, once in each format; the line that says where."""
    texts = {"md": markdown(table), "tex": latex(table), "csv": csv_text(table)}
    written = [store.write_text(f"{name}.{suffix}", text) for suffix, text in texts.items()]
    return f"written: {', '.join(map(str, written))}; each run's log: {store.root / 'runs'}"


def estimate(options: argparse.Namespace) -> None:
    """Say what the study will cost in time and memory: nothing is trained, and nothing written."""
    study = chosen_study(options)
    store = store_of(options, study)
    jobs = jobs_of(options)
    if not jobs:
        raise UserError("--dry-run measures on this machine: drop --scheduler, or give it as local:N")
    threads = threads_each(jobs)
    graph = planned_graph(study, store if store.root.exists() else None)
    runs = standings(graph.runs, store, options.accept_code)
    rows = []
    for row in Estimator(threads).rows(runs):
        rows.append(row)
        print(f"{row.row}: measured" if row.measured else f"{row.row}: on record", file=sys.stderr, flush=True)
    print(f"{study.title}\nBudget {study.budget.name}: {study.budget.how}\n")
    print("\n".join(estimate_lines(rows)))
    print(f"\n{summary(rows, jobs, threads)}")


def look(options: argparse.Namespace) -> None:
    """Say what is on record, or export it: nothing is trained."""
    if options.export:
        check_format(options.export)
    study = chosen_study(options)
    store = store_of(options, study)
    if options.export and options.export.suffix == LEDGER and not (options.rows or options.seeds):
        study = with_seeds(study, [(each.result.row, each.result.seed) for each in store.records()])
    graph = planned_graph(study, store if store.root.exists() else None)
    runs = standings(graph.runs, store, options.accept_code)
    results = results_of(runs)
    tell_lost(runs)
    written = f"{len(results)} of {len(runs)} runs"
    if options.export and options.export.suffix == LEDGER:
        written = extend_ledger(options.export, study, runs)
    elif options.export:
        export(results, options.export)
    if options.status:
        print(f"{study.title} ({store.root})\n\n{status_text(runs, store)}")
    if options.export:
        print(f"written: {options.export} ({written})")


def extend_ledger(path: Path, study: Study, runs: Sequence[Standing]) -> str:
    """Write the full-length runs as a ledger, beside what it holds; how many that are, in words."""
    old = read_ledger(path) if path.exists() else []
    new = entries_of(study, runs)
    entries = merged(old, new, [each.name for each in study.trainings])
    write_ledger(path, entries)
    told = f"{len(entries)} lines, {len(entries) - len(old)} more than before; {len(runs)} runs are asked for"
    ended = sum(each.state in ("finished", "diverged") for each in runs)
    return told if len(new) == ended else f"{told}, {ended - len(new)} of {ended} that have ended have no line"
