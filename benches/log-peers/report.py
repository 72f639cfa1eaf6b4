"""The table."""

HEADINGS = ["log", "version", "appends/s, 1 writer", "64 writers", "replayed events/s", "one append", "replay"]
FIGURES = ["one_writer", "many_writers", "replayed"]


def table(rows):
    """Markdown. A ratio to Tenure's figure stands behind each, if Tenure was measured; what was not measured says why."""
    tenure = next((row for row in rows if "Tenure" in row["name"] and "missing" not in row), None)
    lines = [HEADINGS, ["---", "---", "---:", "---:", "---:", "---", "---"]]
    for row in rows:
        if "missing" in row:
            lines.append([row["name"], row["version"], "–", "–", "–", f"not measured: {row['missing']}", ""])
            continue
        figures = [cell(row[figure], tenure[figure] if tenure and tenure is not row else None) for figure in FIGURES]
        again = row.get("again_share", 0)
        remark = f" ({again:.0%} of the tries with 64 writers)" if again >= 0.005 else ""
        lines.append([row["name"], row["version"], *figures, row["append"] + remark, row["replay"]])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(figure, tenures):
    return f"{figure:,.0f}" if tenures is None else f"{figure:,.0f} ({figure / tenures:.2f} ×)"
