#!/usr/bin/env bash
# torchmetrics 1.9.0: AUROC with `thresholds` leaves out the corner (0, 0) of the curve, and with it the area of every prediction that is 1.
#
# What happens: the curve that is integrated has the given thresholds' points alone; the corner (0, 0), which the exact mode puts in front, is not added, and
#   neither is (1, 1) where a list does not hold 0. A model whose answers are all 1.0 scores 0 and not 1/2, hard 0 or 1 answers lose half of the product of
#   the two rates, and a perfect ranking at the thresholds [0.25, 0.5, 0.75] scores 0. Binary, multiclass and multilabel alike; average precision, which
#   does add its last point, is right.
# Expected: the area of the ranking. The mode is documented as binned, so that scores in one bin may count as tied; here every score is itself a threshold,
#   nothing is lost by binning, and the answer should be the exact one.
# Hurts: sure models: a sigmoid in float32 is 1.0 from 17 on, in bfloat16 from 6 on. The surer a network becomes of the same ranking, the lower the score,
#   so that an early stop or a choice between two checkpoints goes by saturation; `thresholds` is what the documentation advises for large sets.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import importlib.metadata
import sys
import warnings

import numpy as np
import torch

warnings.filterwarnings("ignore")
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision, MulticlassAUROC, MultilabelAUROC

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchmetrics")))


def pairs(scores, labels):
    """The share of pairs of a positive and a negative that are in the right order, ties counted by half: the area's other definition."""
    above = scores[labels == 1][:, None] - scores[labels == 0]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def three(name, scores, labels, thresholds):
    scores, labels = torch.tensor(scores), torch.tensor(labels)
    assert set(scores.tolist()) <= set(np.linspace(0, 1, thresholds).tolist() if isinstance(thresholds, int) else scores.tolist())
    truth = pairs(scores.numpy(), labels.numpy())
    exact, binned = float(BinaryAUROC()(scores, labels)), float(BinaryAUROC(thresholds=thresholds)(scores, labels))
    precision = [float(BinaryAveragePrecision(thresholds=each)(scores, labels)) for each in (None, thresholds)]
    print(f"{name}: by pairs {truth:.4f}, AUROC {exact:.4f}, AUROC with thresholds={thresholds} {binned:.4f}; average precision {precision}")
    return np.allclose([exact, precision[0]], [truth, precision[1]], atol=1e-5), binned


LABELS = [1, 1, 1, 0, 1, 0, 0, 0]
sure = three("everything is 1.0", [1.0] * 8, LABELS, 11)
hard = three("right in 6 of 8, all 0 or 1", [1.0, 1, 1, 1, 0, 0, 0, 0], LABELS, 11)
soft = three("the same at 0 or 1/2", [0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0], LABELS, 11)
perfect = three("perfect, thresholds within", [0.75, 0.75, 0.75, 0.25, 0.75, 0.25, 0.25, 0.25], LABELS, [0.5, 0.75])

generator = np.random.default_rng(0)
labels = generator.integers(0, 2, 4000)
logits = 4 * labels - 2 + 3 * generator.standard_normal(4000)
falling = []
for times in (1, 4, 16, 64):
    scores = torch.sigmoid(torch.tensor(times * logits, dtype=torch.float32))
    seen = [pairs(scores.numpy(), labels), float(BinaryAUROC()(scores, torch.tensor(labels))), float(BinaryAUROC(thresholds=200)(scores, torch.tensor(labels)))]
    falling.append(seen)
    print(f"one ranking, logits times {times}: {float((scores == 1).float().mean()):.0%} of the scores are 1.0; by pairs {seen[0]:.4f}, AUROC {seen[1]:.4f}, "
          f"with thresholds=200 {seen[2]:.4f}")
one_hot = torch.eye(3)[torch.tensor([0, 0, 1, 1, 2, 0])]
classes = torch.tensor([0, 0, 1, 2, 2, 1])
three_classes = [float(MulticlassAUROC(3, thresholds=each)(one_hot, classes)) for each in (None, 11)]
by_pairs = np.mean([pairs(one_hot[:, k].numpy(), (classes == k).numpy().astype(int)) for k in range(3)])
labelled = [float(MultilabelAUROC(3, thresholds=each)(one_hot, torch.eye(3, dtype=torch.int64)[classes])) for each in (None, 11)]
print(f"three classes, hard answers: by pairs {by_pairs:.4f}, exact and binned: MulticlassAUROC {three_classes}, MultilabelAUROC {labelled}")
right = all(each[0] for each in (sure, hard, soft, perfect)) and np.allclose([three_classes[0], labelled[0]], by_pairs)
# Half of the product of the rates: 3 of 4 positives and 1 of 4 negatives are 1.0.
as_seen = sure[1] == 0 and np.isclose(hard[1], 0.75 - 0.75 * 0.25 / 2) and np.isclose(soft[1], 0.75) and perfect[1] == 0
close = all(abs(seen[0] - seen[1]) < 1e-4 for seen in falling) and falling[0][0] - falling[0][2] < 0.01 < 0.02 < falling[3][0] - falling[3][2]
sys.exit(0 if right and as_seen and close and three_classes[1] < by_pairs - 0.05 and labelled[1] < by_pairs - 0.05 else 1)
PY
"$work/venv/bin/python" "$work/show.py"
