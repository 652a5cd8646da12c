"""The reference of metrics and events, made of their declarations: `python -m taskerman.telemetry.reference`.

It prints the page; a test compares it with docs/reference/metrics.md.
"""

from __future__ import annotations

from taskerman.telemetry.declarations import METRICS, Metric
from taskerman.telemetry.events import EVENTS
from taskerman.telemetry.labels import LABELS, MOST_SERIES, OTHER, Label

__all__ = ["page"]

_HEAD = """# Metrics and events

<!-- Made of the declarations by `make docs`. Do not edit. -->

Every daemon that stays serves its metrics at `/metrics` when `TASKERMAN_METRICS_ADDRESS` names an address
(`127.0.0.1:9464`; port 0 takes a free one, which the event `metrics_served` names). There is no default: several
daemons may share a machine. `taskerman agent --once` writes them to `TASKERMAN_METRICS_FILE` when it ends, for
node_exporter's textfile collector: the file is there whole or not at all, its name must end in `.prom`, and what it
counts begins at 0 with each call. Whoever reaches the address can read; there is nothing secret in metrics, and names
of clusters and actions are.

What is marked *census* is read from ZooKeeper once a minute by the janitor that leads, for the whole installation; a
census older than three minutes is not shown. Everything else is what the one daemon did itself. `process_*` and
`python_*` of the daemon's process come with it.
"""


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD, "\n## Metrics\n", "| metric | kind | labels | told by | what it says |", "|---|---|---|---|---|"]
    parts += [_metric(metric) for metric in METRICS]
    parts += ["\n### Buckets\n", "Upper bounds in seconds.\n"]
    parts += [f"- `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.buckets)}" for metric in METRICS
              if metric.buckets]  # fmt: skip
    parts += [
        "\n## Labels\n",
        f"Never an id. What is not admitted is counted as `{OTHER}`, and so is what would be one more than the most: "
        f"no metric of one process has more than {MOST_SERIES:,} combinations of names.\n",
        "| label | values | what it is |",
        "|---|---|---|",
    ]
    used = {label for metric in METRICS for label in metric.labels}
    parts += [_label(label) for name, label in LABELS.items() if name in used]
    parts += [
        "\n## Events\n",
        "The lines of the log, by name; `TASKERMAN_LOG_FORMAT=json` makes each an object with `at`, `level`, `event` "
        "and the fields.\n",
        "| event | level | fields | what it says |",
        "|---|---|---|---|",
    ]
    parts += [
        f"| `{event.name}` | {', '.join(event.levels)} | {_code(event.fields)} | {event.about} |" for event in EVENTS
    ]
    return "\n".join(parts) + "\n"


def _metric(metric: Metric) -> str:
    told = "census" if metric.source == "census" else ", ".join(metric.told_by)
    return f"| `{metric.name}` | {metric.kind} | {_code(metric.labels)} | {told} | {metric.about} |"


def _label(label: Label) -> str:
    values = _code(tuple(sorted(label.values))) if label.values else f"names, at most {label.most}"
    return f"| `{label.name}` | {values} | {label.about} |"


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(page(), end="")
