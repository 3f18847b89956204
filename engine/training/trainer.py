"""Training: one step on a batch, or a whole run with validation, checkpoints, a log and an exact resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from engine.arguments import instance, integer, number, truth
from engine.data.dataset import Data, as_dataset
from engine.data.loader import Loader
from engine.errors import UserError
from engine.files import PATIENCE
from engine.training.folder import only_training
from engine.training.history import History, Record
from engine.training.resume import holds_run
from engine.training.run import Run
from engine.training.schedules import EarlyStopping
from engine.training.stepper import Stepper


class Trainer(Stepper):
    """Trains a network.

    net         the network; it is updated in place
    schedule    learning rate over time (None: the optimiser's, always); the trainer works on a copy
    out         run folder for checkpoints and logs (None: nothing is written)
    metric      picks the best epoch: any metric of the log, or val_ with one of metrics.PER_CLASS, such as
                val_min_recall, which is then logged too (None: val_loss, or train_loss without validation)
    mode        "min" or "max" (None: a loss is to fall, anything else to rise)
    max_norm    bound on the Euclidean norm of the whole gradient (None: none)
    algorithm   of the convolutions: "auto", "direct" (exact), or a mapping (see Network.plan)
    tune        measure the algorithms when training begins; a run folder keeps the outcome, and a resume repeats it
    freeze      layers that stay as they are, by names or patterns such as ["conv*", "!conv5"] (engine.layers.patterns):
                no gradient, no update, no backward pass below the lowest layer that learns; a frozen BatchNorm uses
                its running statistics and keeps them; dropout goes on
    learning_rates   factors on the schedule's rate by name or pattern of layers or parameters, such as
                {"head": 10, "*.bias": 2}; of several that match, the last counts; weight decay (AdamW) follows the rate
    freeze_after   epochs after which parameters stay as they are, by name or pattern of layers or parameters, such as
                {"whiten.bias": 3}; the last that matches counts. From then on their factor on the learning rate is 0;
                running statistics go on
    average     averages of the weights over the steps, which are then evaluated, saved and left in the network
                (engine.training.average.Average; None: none)
    accumulate  passes in a step, of `batch_size` samples each: the gradients are added up, so that a step learns from
                batch_size * accumulate samples with the memory of batch_size. A Loader that is given has the samples of
                a whole step in its batches
    memory      "small": a step takes about half the memory of activations, with results that differ by rounding: it
                computes again what is not kept, or goes in parts as with accumulate where no layer sees the whole batch
    progress    "bar", "lines", "none", or "auto": a bar on a terminal, otherwise a line per epoch
    config      goes to config.yaml in the run folder (None: the trainer's own settings)

    The same arguments, data, plan, instruction set and build give the same bits, for any number of threads, and
    whether or not the run was interrupted and resumed.
    """

    def fit(
        self,
        train: Data | Loader,
        validation: Data | None = None,
        *,
        epochs: int,
        early_stopping: EarlyStopping | None = None,
        resume: bool = False,
        checkpoint_every: int | None = None,
        checkpoint_seconds: float | None = None,
        callbacks: Sequence[Callable[[Record], None]] = (),
        train_metrics: bool = False,
        restore_best: bool = False,
    ) -> History:
        """Train for `epochs` epochs, fewer with early stopping.

        With a run folder: last.safetensors holds the run's whole state after every epoch, and every `checkpoint_every`
        steps or `checkpoint_seconds` seconds; best.safetensors the network of the best epoch. `resume` goes on from
        last.safetensors to the bits of an undisturbed run (or begins, when there is none yet), with a warning from the
        one before, previous.safetensors, or the beginning where it is damaged; a run that is longer already is
        refused, and the record (config.yaml) of one that has ended keeps how it was trained. Without `resume` a folder
        that holds a run is refused. `train_metrics` also evaluates the training set after every epoch. Every callback
        gets a copy of each epoch's record. `restore_best` leaves the network with the weights of the best epoch, else
        the last.

        One fit of a trainer at a time: UserError for another one, from a callback or another thread.
        Every call starts with the network's weights as they are; steps, optimiser state and schedule begin anew.
        One run at a time trains in a folder: UserError, which names the process, where another one does.
        A loss that is not finite, in training or in evaluation, stops the run with DivergedError.
        A last batch of one sample is refused where a BatchNorm would see one value per channel (see BatchNorm).
        """
        loader = (
            train
            if isinstance(train, Loader)
            else Loader(as_dataset(train), self.batch_size * self.accumulate, seed=self.seed)
        )
        held_out = None if validation is None else as_dataset(validation, "validation")
        epochs = integer("fit", "epochs", epochs, 1)
        if checkpoint_every is not None:
            checkpoint_every = integer("fit", "checkpoint_every", checkpoint_every, 1)
        if checkpoint_seconds is not None:
            checkpoint_seconds = number("fit", "checkpoint_seconds", checkpoint_seconds, 0.0, math.inf)
        if early_stopping is not None:
            what = "a rule such as EarlyStopping(patience=5)"
            instance("fit", "early_stopping", early_stopping, EarlyStopping, what)
        if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
            raise UserError(f"fit: callbacks must be functions in a list, not {callbacks!r}")
        resume = truth("fit", "resume", resume)
        train_metrics = truth("fit", "train_metrics", train_metrics)
        restore_best = truth("fit", "restore_best", restore_best)
        due = checkpoint_every, checkpoint_seconds
        with self._alone():
            run = Run(self, loader, held_out, epochs, early_stopping, due, train_metrics, restore_best)
            if self.out is not None:
                holds_run(self.out, resume)
            with self.holding():
                return run.go(resume, callbacks)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep every other fit of this trainer, in a callback or another thread, out for the block."""
        try:
            token = self._free.pop()
        except IndexError:
            raise UserError("fit: this trainer is training already; wait for its end, or make another one") from None
        try:
            yield
        finally:
            self._free.append(token)

    @contextmanager
    def holding(self, patience: float = PATIENCE) -> Iterator[None]:
        """Keep every other training out of the run folder, where there is one, for the block; `fit` does so by itself.

        UserError, which names the process, where another one still trains there after `patience` seconds.
        """
        if self.out is None or self._holds:
            yield
            return
        with only_training(self.out, patience):
            self._holds = True
            try:
                yield
            finally:
                self._holds = False
