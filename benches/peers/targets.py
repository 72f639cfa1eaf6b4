"""What Tenure's models have to reach, and whether they did."""

from dataclasses import dataclass

import models
from report import mean

IBM_AUC_BEHIND_BEST_PEER = 0.003
IBM_CALIBRATION_ERROR = 0.03
REGRET_BY_ROWS = {10_000: 0.004, 100_000: 0.002}
EXCESS_BRIER = 0.004
OBSERVED_OVER_EXPECTED = (0.9, 1.1)
ADDITIVE_FIT_SECONDS = 60
ADDITIVE_FIT_BESIDE_LIGHTGBM = 2

PASSES, MISSED, NOT_MEASURED = "passes", "MISSED", "not measured"


@dataclass
class Bound:
    """A figure has to lie between two limits, either of which may be absent."""

    lowest: float | None = None
    highest: float | None = None

    def __str__(self):
        if self.lowest is None:
            return f"≤ {self.highest:g}"
        if self.highest is None:
            return f"≥ {self.lowest:.4g}"
        return f"{self.lowest:g} to {self.highest:g}"

    def holds(self, figure):
        return (self.lowest is None or figure >= self.lowest) and (self.highest is None or figure <= self.highest)


def of_ibm(measured):
    best = max((model for model in measured["models"] if not model["ours"]), key=lambda model: mean(model["roc_auc"]))
    wanted = mean(best["roc_auc"]) - IBM_AUC_BEHIND_BEST_PEER
    our = champion(measured)
    behind = f"within {IBM_AUC_BEHIND_BEST_PEER} of the best peer ({best['model']}, {mean(best['roc_auc']):.4f})"
    return [
        verdict(f"the champion's ROC-AUC on IBM, {behind}", our, "roc_auc", Bound(lowest=wanted)),
        verdict("the champion's ECE on IBM", our, "ece", Bound(highest=IBM_CALIBRATION_ERROR)),
    ]


def of_static(measured):
    rows = measured["rows"]
    if rows not in REGRET_BY_ROWS:
        return []
    our = champion(measured)
    at = f"on the static generator at {rows:,} rows"
    return [
        verdict(f"the champion's regret {at}", our, "regret", Bound(highest=REGRET_BY_ROWS[rows])),
        verdict(f"the champion's excess Brier {at}", our, "excess_brier", Bound(highest=EXCESS_BRIER)),
        verdict(f"the champion's observed over expected {at}", our, "observed_over_expected", Bound(*OBSERVED_OVER_EXPECTED)),
    ]


def of_speed(measured):
    additive = model(measured, "additive")
    allowed = model(measured, models.LIGHTGBM)["fit_seconds"] * ADDITIVE_FIT_BESIDE_LIGHTGBM
    beside = f"within {ADDITIVE_FIT_BESIDE_LIGHTGBM} × LightGBM's"
    return [
        verdict("the additive model's training, in seconds", additive, "fit_seconds", Bound(highest=ADDITIVE_FIT_SECONDS)),
        verdict(f"the additive model's training, {beside}", additive, "fit_seconds", Bound(highest=round(allowed, 2))),
    ]


def champion(measured):
    return next((model for model in measured["models"] if model.get("champion")), None)


def model(measured, name):
    return next((model for model in measured["models"] if model["name"] == name), None)


def verdict(target, our, key, bound):
    figure = mean(our.get(key)) if our else None
    if figure is None:
        return {"target": target, "outcome": NOT_MEASURED, "measured": f"wanted {bound}", "figure": None}
    outcome = PASSES if bound.holds(figure) else MISSED
    measured = f"{figure:.4g} ({our['name']}), wanted {bound}"
    return {"target": target, "outcome": outcome, "measured": measured, "figure": figure}
