"""Every metric that there is: its name, what it says, its labels. The reference in the documentation is made of this.

Names are Prometheus' own way: `taskerman_`, the thing, its unit, `_total` for what only grows. Values only; nothing
here counts, and nothing here imports a library of metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "PREFIX", "Metric", "Role"]

PREFIX = "taskerman_"

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["events", "requests", "pulse", "census"]
Role = Literal["agent", "router", "janitor", "scheduler"]

_EVERYBODY: tuple[Role, ...] = ("agent", "router", "janitor", "scheduler")
_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """`name`: in full. `labels`: names of `labels.LABELS`. `told_by`: the daemons that have it. `buckets`: upper
    bounds of a histogram, in the metric's unit. `source`: what it is made of. `census`: read from the tree now and then
    by one daemon, for all."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    told_by: tuple[Role, ...] = _EVERYBODY
    buckets: tuple[float, ...] = ()
    source: Source = "events"


def _counter(name: str, about: str, *labels: str, by: tuple[Role, ...] = _EVERYBODY) -> Metric:
    return Metric(f"{PREFIX}{name}_total", "counter", about, labels, by)


def _gauge(name: str, about: str, *labels: str, by: tuple[Role, ...] = _EVERYBODY) -> Metric:
    return Metric(PREFIX + name, "gauge", about, labels, by)


def _histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str, by: tuple[Role, ...]) -> Metric:
    return Metric(PREFIX + name, "histogram", about, labels, by, buckets)


def _counted(name: str, about: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, "gauge", about, labels, ("janitor",), source="census")


def _pulse(name: str, kind: Kind, about: str) -> Metric:
    return Metric(PREFIX + name, kind, about, ("role",), source="pulse")


def _request(name: str, about: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}_total", "counter", about, labels, source="requests")


_JANITOR: tuple[Role, ...] = ("janitor",)
_AGENT: tuple[Role, ...] = ("agent",)
_ROUTER: tuple[Role, ...] = ("router",)
_SCHEDULER: tuple[Role, ...] = ("scheduler",)

METRICS: tuple[Metric, ...] = (
    # --- attempts
    _counter("attempts_taken", "Attempts that took their slots on this node.", "action", "cluster", by=_AGENT),
    _counter("attempts_adopted", "Attempts taken over from an earlier agent of this node.", "action", "cluster",
             by=_AGENT),
    _counter("attempts_ended", "Attempts that ended on this node, by how.", "action", "cluster", "outcome", by=_AGENT),
    _counter("limits_met", "Actions that met a limit on this node, by which; also those that ended well.", "action",
             "cluster", "limit", by=_AGENT),
    _histogram("attempt_phase_seconds", "Time that attempts spent in a phase, from entering to leaving it. Of an "
               "adopted attempt only what this agent saw counts.", _LONG, "action", "cluster", "phase", by=_AGENT),
    _histogram("handover_seconds", "From the moment this agent was told that something changed (a slot was freed, for "
               "instance) to the beginning of pre_check in its child, on the agent's own monotonic clock: looking, "
               "the taking transaction, and the start of the child where it was not started early. Not in it: the way "
               "from the freeing agent's commit to this agent. Takes that nothing had woken are not counted.",
               _FAST, "cluster", by=_AGENT),
    _histogram("start_delay_seconds", "From the moment at which a schedule's task was due until its action began on "
               "this node: scheduler, queue, router, the line, slots, pre_check, and every deferral, retry, redrive, "
               "hold and window. Of `heartbeat_task:ping` it is how slow everything is together; when none comes, "
               "something is broken. By this node's clock, against that of the scheduler; less than nothing counts as "
               "0.", _LONG, "action", "cluster", by=_AGENT),
    _gauge("agent_assignments", "Assignments that this agent holds: those that wait, and the one in an attempt.",
           "standing", by=_AGENT),
    _counter("assignment_waits", "Reasons that a waiting assignment of this node met, each counted when it changes.",
             "cluster", "reason", by=_AGENT),
    _counter("assignments_settled", "Assignments whose end was announced where it had to be, and whose messages were "
             "deleted.", "outcome", by=_AGENT),
    _counter("dead_letters_sent", "Announcements of dead letters that were sent.", "origin"),
    _counter("breaker_opened", "Breakers that opened by an end on this node: too many failures in a row, or a probe "
             "that failed.", "cluster", by=_AGENT),
    _counter("breaker_probed", "Attempts on this node that tried a cluster whose breaker was open.", "cluster",
             by=_AGENT),
    _counter("breaker_closed", "Breakers that the success of a probe on this node closed. Not those that a person "
             "reset.", "cluster", by=_AGENT),
    _counter("brackets_begun", "Brackets that an attempt on this node began: cluster_begin returned.", "cluster",
             by=_AGENT),
    _counter("brackets_closed", "Brackets that this node ended: cluster_end returned.", "cluster", by=_AGENT),
    _counter("brackets_not_closed", "Calls of cluster_end on this node that failed.", "cluster", by=_AGENT),
    # --- tasks
    _counter("documents_received", "Task documents received, repeats included.", by=_ROUTER),
    _histogram("document_age_seconds", "Age of a task document when it was received: how far behind routing is.",
               _LONG, by=_ROUTER),
    _counter("documents_refused", "Task documents that were refused for good.", "code", by=_ROUTER),
    _counter("documents_put_off", "Task documents given back to the queue, to be judged later.", "code", by=_ROUTER),
    _counter("tasks_planned", "Plans written.", "action", "cluster", by=_ROUTER),
    _counter("tasks_routed", "Task documents whose nodes were rung, repeats included.", by=_ROUTER),
    _counter("tasks_closed", "Tasks closed because all their nodes had ended.", by=("router", "janitor")),
    _gauge("cluster_discovered_nodes", "Running nodes that discovery found when the cluster was last planned for.",
           "cluster", by=_ROUTER),
    _histogram("discovery_seconds", "Time that discovery took to answer.", _FAST, by=_ROUTER),
    # --- what a janitor did
    _counter("nodes_reclaimed", "Machines that were declared gone, by proof.", by=_JANITOR),
    _counter("slots_reclaimed", "Slots that were freed with them.", by=_JANITOR),
    _counter("reclaims_capped", "Times that a machine was not declared gone, because too many were within the hour.",
             by=_JANITOR),
    _counter("assignments_gone", "Assignments of machines that were gone, ended without an attempt.", by=_JANITOR),
    _counter("slots_overdue", "Attempts that outlasted their whole term.", "cluster", by=_JANITOR),
    _counter("tasks_expired", "Tasks whose `not_after` passed.", "cluster", by=_JANITOR),
    _counter("nodes_rung_again", "Doorbells that were rung again.", by=_JANITOR),
    _counter("tasks_put_away", "Ended tasks that went to the history.", "cluster", by=_JANITOR),
    _counter("holds_ended", "Holds that were removed at their expiry.", by=_JANITOR),
    _counter("queues_deleted", "Queues of machines that were gone, deleted.", by=_JANITOR),
    _counter("chore_failures", "Chores that failed, wholly or for one thing.", "chore", "code", by=_JANITOR),
    _counter("history_errors", "Those of them that failed because of the history.", "code", by=_JANITOR),
    # --- schedules
    _counter("schedules_fired", "Firings whose task was sent.", "action", "cluster", by=_SCHEDULER),
    _counter("schedules_skipped", "Firings left out because a task of an earlier one was still open.", "action",
             "cluster", by=_SCHEDULER),
    _counter("schedules_missed", "Firings that were not made up for.", "action", "cluster", by=_SCHEDULER),
    _counter("schedule_tasks_ended", "Tasks of schedules that are over, by how they came out.", "verdict",
             by=_SCHEDULER),
    _histogram("schedule_delay_seconds", "From the moment at which a firing was due until its task was sent.", _LONG,
               by=_SCHEDULER),
    _gauge("schedules", "Schedules, as the scheduler that leads counted them last.", "schedule_standing",
           by=_SCHEDULER),
    _gauge("schedules_stale", "Schedules of the cluster without the success that they should have had.", "cluster",
           by=_SCHEDULER),
    # --- the installation, counted
    _counted("open_tasks", "Open tasks.", "cluster", "task_state"),
    _counted("oldest_open_task_seconds", "Age of the oldest task that is not closed; 0 without one.", "cluster"),
    _counted("nodes_without_end", "Nodes that open tasks still have to do something on, those in an attempt included.",
             "cluster"),
    _counted("nodes_in_line", "Nodes that stand in a line and wait for their turn.", "cluster"),
    _counted("slots", "Slots held, in clusters and in named scopes. unsafe and lost are kept: the open breaker.",
             "scope", "slot_state"),
    _counted("failed_nodes", "Nodes that use the failure budget of an open task: retried or failed, not excused.",
             "cluster"),
    _counted("breaker_open", "1 while the cluster's breaker keeps nodes from starting: a kept slot, or too many "
             "failures in a row.", "cluster"),
    _counted("recent_failures", "Failures of the cluster since its last success, across tasks; too many in a row open "
             "the breaker.", "cluster"),
    _counted("brackets_open", "Brackets that are not closed: something is so in the cluster only while nodes act.",
             "cluster"),
    _counted("brackets_failing", "Those of them whose cluster_end has failed, or that no node has ended yet.",
             "cluster"),
    _counted("oldest_bracket_seconds", "For how long the oldest of them has been in its state; 0 without one.",
             "cluster"),
    _counted("holds", "Holds that stand.", "on"),
    _counted("dead_letters_open", "Dead letters that nobody has redriven or discarded.", "origin"),
    _counted("oldest_dead_letter_seconds", "Age of the oldest of them; 0 without one."),
    _counted("queue_messages", "Messages in a queue, as its transport estimates them.", "queue", "transit"),
    _counted("unreadable_records", "Records that the count could not read, and left out of its numbers."),
    _counted("counted_timestamp_seconds", "When the installation was last counted, in Unix time."),
    # --- the daemon
    _pulse("last_success_timestamp_seconds", "gauge", "When the daemon's loop last ended a turn without an error, in "
           "Unix time."),
    _pulse("loop_turns_total", "counter", "Turns of the daemon's loop."),
    _pulse("loop_busy_seconds_total", "counter", "Time that the daemon's loop spent in turns, waiting left out."),
    _pulse("loop_lag_seconds", "gauge", "How long ago the daemon's loop should have begun a turn; 0 when it is in "
           "time. The watchdog ends the process when it grows beyond TASKERMAN_WATCHDOG_S."),
    _counter("loop_failures", "Turns of the daemon's loop that ended by an error.", "role", "code"),
    _counter("events", "Events emitted, by how a person should take them.", "level"),
    # --- the outside world
    _request("zookeeper_requests", "Requests sent to ZooKeeper; a transaction is one.", "kind"),
    _request("zookeeper_request_errors", "Requests to ZooKeeper that got no answer, or a refusal that is an error.",
             "kind", "code"),
    _request("aws_requests", "Requests sent to SQS and EC2, repeats included.", "operation"),
    _request("aws_request_errors", "Requests to SQS and EC2 that failed, repeats included.", "operation", "aws_code"),
)  # fmt: skip
"""In the order of the reference. `process_*` and `python_*` come with the library, for the daemon's own process."""
