"""How what is to come looks to people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from taskerman.cli.printing import Block, Table, one_line
from taskerman.control.comparing import ChangedFirings, ChangedSchedule, Comparison, ScheduleChange
from taskerman.control.outlook import Contended, ForeseenSchedule, Outlook
from taskerman.model.span import span_text

__all__ = ["comparison", "outlook"]

_MOST_NAMED = 3
_MOST_PLACES = 5


def outlook(value: Outlook) -> list[Block]:
    """Each firing, each schedule, and at the end what matters: where two get in each other's way."""
    blocks: list[Block] = []
    if value.firings:
        rows = tuple(
            (_at(one.due), one.schedule, one.action, one.cluster_name, _lasts(one.lasts_s)) for one in value.firings
        )
        blocks.append(Table(("DUE", "SCHEDULE", "ACTION", "CLUSTER", "TAKES"), rows))
        if value.more:
            blocks.append(f"... and {value.more:,} more: narrow it by --until, --schedule or --cluster.")
        blocks.append("")
    if value.schedules:
        told = tuple((one.name, f"{one.firings:,}", _nodes(one), one.place) for one in value.schedules)
        blocks += [Table(("SCHEDULE", "FIRINGS", "NODES NOW", "DECLARED IN"), told), ""]
    return [*blocks, *_summary(value)]


def comparison(value: Comparison) -> list[Block]:
    """A schedule a paragraph, and one line of counts."""
    blocks: list[Block] = []
    for one in value.schedules:
        blocks += [*_changed(one), ""]
    counts = [
        f"{sum(one.change is change for one in value.schedules)} {change.value}"
        for change in ScheduleChange
        if any(one.change is change for one in value.schedules)
    ]
    said = ", ".join(counts) if counts else "Nothing differs"
    return [*blocks, f"{said}; {value.same} the same. Firings from {_at(value.begin)} until {_at(value.until)}."]


def _summary(value: Outlook) -> Iterator[str]:
    seen = len(value.firings) + value.more
    firings = "1 firing" if seen == 1 else f"{seen:,} firings"
    schedules = "1 schedule" if len(value.schedules) == 1 else f"{len(value.schedules)} schedules"
    left_out = [f"{count} {what}" for count, what in ((value.paused, "paused"), (value.disabled, "disabled")) if count]
    rest = f"; left out: {', '.join(left_out)}" if left_out else ""
    yield f"{firings} of {schedules} from {_at(value.begin)} until {_at(value.until)}{rest}."
    if value.looked_until < value.until:
        yield f"After {_at(value.looked_until)} nobody looked: there are too many before it."
    if value.history:
        yield f"How long they take is not known: {value.history}"
    for cluster in dict.fromkeys(place.cluster_name for place in value.contended):
        yield _contended(cluster, [place for place in value.contended if place.cluster_name == cluster])
    if not value.contended and len(value.schedules) > 1:
        yield "No two schedules want one cluster at once."


def _contended(cluster: str, places: Sequence[Contended]) -> str:
    said = "; ".join(f"{_at(place.begin)} {' and '.join(place.schedules)}" for place in places[:_MOST_PLACES])
    more = f"; and {len(places) - _MOST_PLACES:,} more" if len(places) > _MOST_PLACES else ""
    count = "1 place" if len(places) == 1 else f"{len(places):,} places"
    return f"{count} where two schedules want {cluster} at once: {said}{more}."


def _nodes(one: ForeseenSchedule) -> str:
    if one.fault:
        return one_line(one.fault)
    if one.nodes is None:
        return "not asked"
    named = ", ".join(one.first_nodes[:_MOST_NAMED])
    return f"{one.nodes:,}: {named}{', ...' if one.nodes > _MOST_NAMED else ''}"


def _changed(one: ChangedSchedule) -> Iterator[str]:
    named = f"{one.was_named} -> {one.name}" if one.was_named else one.name
    yield f"{one.change.value} {named} ({one.place})"
    if one.change is ScheduleChange.RENAMED:
        yield "  The same under another name is a new schedule: it starts from now, and its tasks have other ids."
    elif one.change is ScheduleChange.ADDED:
        yield "  It starts from now: what was due before is not made up for."
    elif one.starts_anew:
        yield "  Its times changed, so it starts from now: what was due before is not made up for."
    for field in one.fields:
        was, now = (one_line(text) if text is not None else "(absent)" for text in (field.was, field.now))
        yield f"  {field.path}: {was} -> {now}"
    yield from _firings("gone", one.gone)
    yield from _firings("new", one.new)


def _firings(what: str, changed: ChangedFirings) -> Iterator[str]:
    if changed.count:
        least = "at least " if changed.at_least else ""
        more = ", ..." if changed.count > len(changed.first) else ""
        firings = "firing" if changed.count == 1 else "firings"
        yield f"  {least}{changed.count:,} {firings} {what}: {', '.join(_at(due) for due in changed.first)}{more}"


def _lasts(seconds: float | None) -> str:
    return "unknown" if seconds is None else span_text(timedelta(seconds=seconds))


def _at(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}Z"
