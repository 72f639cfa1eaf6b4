"""Figures as Markdown: a table for each data set, and a line for each target."""

COLUMNS = {
    "roc_auc": ("ROC-AUC", 4),
    "regret": ("regret", 4),
    "pr_auc": ("PR-AUC", 3),
    "brier": ("Brier", 4),
    "excess_brier": ("excess Brier", 4),
    "ece": ("ECE", 4),
    "observed_over_expected": ("observed / expected", 3),
    "lift_top_tenth": ("lift at 10 %", 2),
    "fit_seconds": ("fit, s", 2),
    "predict_seconds_per_100k": ("predict 100,000 rows, s", 2),
}
ABSENT = "–"


def print_table(measured):
    """One data set: Tenure's models first, then the peers. A column that no model has a figure for is left out."""
    print(f"\n## {measured['title']}\n")
    about = f"{measured['rows']:,} rows, {measured['positives']:,} positives"
    if "test_rows" in measured:
        about += f"; tested on {measured['test_rows']:,} other rows"
    if measured.get("optimum_auc") is not None:
        about += f"; no model can reach more than {measured['optimum_auc']:.4f} there"
    print(about + ".\n")
    columns = [key for key in COLUMNS if any(model.get(key) is not None for model in measured["models"])]
    rows = [["model", *(COLUMNS[key][0] for key in columns)]]
    for model in measured["models"]:
        champion = " **(champion)**" if model.get("champion") else ""
        rows.append([model["model"] + champion, *(shown(model.get(key), COLUMNS[key][1]) for key in columns)])
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in [rows[0], rule, *rows[1:]]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    for warning in measured["warnings"]:
        print(f"\n{warning}")
    print(flush=True)


def shown(figure, digits):
    if figure is None:
        return ABSENT
    if isinstance(figure, dict):
        spread = f" ± {figure['sd']:.{digits}f}" if figure.get("sd") is not None else ""
        return f"{figure['mean']:.{digits}f}{spread}"
    return f"{figure:.{digits}f}"


def mean(figure):
    """A figure over folds comes with its spread, a figure on one test table without."""
    return figure["mean"] if isinstance(figure, dict) else figure


def print_verdicts(verdicts):
    print("\n## Targets\n")
    for verdict in verdicts:
        print(f"- **{verdict['outcome']}**: {verdict['target']}: {verdict['measured']}")
    print(flush=True)
