"""Every event that there is, with its fields and how a person should take it. The reference is made of this.

An event is in the past tense, or says how things stand. Whoever emits a new one declares it here: a test compares the
code with this table, in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EVENTS", "Declared"]


@dataclass(frozen=True, slots=True)
class Declared:
    """`levels`: those with which it comes. `fields`: those that it may have."""

    name: str
    about: str
    fields: tuple[str, ...] = ()
    levels: tuple[str, ...] = ("info",)


def _event(name: str, about: str, fields: str = "", levels: str = "info") -> Declared:
    return Declared(name, about, tuple(fields.split()), tuple(levels.split()))


_ATTEMPT = "node task attempt action cluster phase"

EVENTS: tuple[Declared, ...] = (
    # --- an agent
    _event("agent_started", "The agent runs; it connects when it has work. isolation: how attempts are kept apart.",
           "node clusters isolation"),
    _event("limits_not_kept", "Limits that are set for this node and that it cannot keep for an attempt as a whole.",
           "node limits why", "warning"),
    _event("groups_not_removed", "Control groups of attempts that have ended are there still, with processes in them.",
           "node attempts", "warning"),
    _event("agent_ready", "It has become the node's one incarnation.", "node epoch"),
    _event("agent_stopped", "It has ended in order.", "node"),
    _event("coordination_unavailable", "ZooKeeper did not answer; it is asked again.", "node why code", "warning"),
    _event("installation_refused", "ZooKeeper was emptied or restored: nothing starts until a person looked.",
           "node why", "error"),
    _event("not_permitted", "The agent's rights in ZooKeeper do not suffice: nothing starts until a person looked.",
           "node why", "error"),
    _event("installation_accepted", "A person let the node go on under another installation than it belonged to.",
           "node installation was", "warning"),
    _event("assignments_counted", "How many assignments are in hand, when that has changed.", "node waiting acting",
           "debug"),
    _event("assignment_waits", "Why an assignment waits, when that has changed.", "node task cluster reason why",
           "debug"),
    _event("assignment_left", "The task is over for this node; nothing is left to do.", "node task"),
    _event("assignment_settled", "The recorded end was announced where it must be, and the messages are deleted.",
           "node task outcome"),
    _event("assignment_stuck", "What is recorded of it cannot be read or done; the others go on.",
           "node task why code", "error"),
    _event("attempt_taken", "The slots are taken; the attempt begins.", f"{_ATTEMPT} k"),
    _event("attempt_adopted", "An attempt of an earlier agent was taken over.", _ATTEMPT, "warning"),
    _event("phase_entered", "The attempt came into a phase; late_s: of a schedule's task whose action begins, seconds "
           "since it was due, by this node's clock.", f"{_ATTEMPT} late_s"),
    _event("phase_left", "It left one, after so many seconds.", f"{_ATTEMPT} s", "debug"),
    _event("pre_check_began", "The child has its runner and was asked; handover_s: seconds since the agent was told of "
           "what let it begin, where something told it.", f"{_ATTEMPT} handover_s", "debug"),
    _event("attempt_ended", "The end is recorded.", f"{_ATTEMPT} outcome reason", "info error"),
    _event("limit_met", "The action met a limit, and ended well or not; limit: which.", f"{_ATTEMPT} limit why",
           "warning"),
    _event("breaker_opened", "The end opened the breaker of a cluster, or its probe failed; failures: in a row. "
           "Nothing starts there until the time named, and then one.", "node task attempt cluster failures until",
           "error"),
    _event("breaker_probed", "The attempt tries a cluster whose breaker is open; all others wait for it.",
           "node task attempt cluster", "warning"),
    _event("breaker_closed", "The probe succeeded: the breaker is closed.", "node task attempt cluster failures"),
    _event("bracket_begun", "cluster_begin has returned: what must be so in the cluster while nodes act is so.",
           f"{_ATTEMPT} bracket"),
    _event("bracket_closing", "The node calls cluster_end; under: which attempt's slots, or none.",
           "node task cluster bracket under"),
    _event("bracket_closed", "cluster_end has returned: what was so in the cluster is undone.",
           "node task cluster bracket"),
    _event("bracket_not_closed", "cluster_end failed or was cut off; it is called again, on another node.",
           "node task cluster bracket why tries", "error"),
    _event("end_not_recorded", "The agent stops with an end that is only in its journal; the next one records it.",
           "node why", "warning"),
    _event("child_not_prepared", "A child could not be started early; the attempt will start one.", "node task why",
           "warning"),
    _event("child_overdue", "The child is past its last deadline and silent; it is taken for hung.", _ATTEMPT, "error"),
    _event("journal_not_written", "The disk refused what is good to have and not needed.", "node why", "error"),
    _event("doorbell_unreadable", "A message is no doorbell of this node; it was deleted.", "node body", "warning"),
    _event("doorbell_without_plan", "A doorbell's task was never planned; it was deleted.", "node task", "warning"),
    _event("doorbell_of_another_plan", "A doorbell carries another hash than the plan; it was deleted.", "node task",
           "warning"),
    _event("ack_failed", "A message could not be deleted; it comes back, to the same end.", "queue why", "warning"),
    _event("receive_failed", "The node's queue could not be read; it is read again.", "queue why", "warning"),
    _event("extend_failed", "A loan could not be extended; the message may come twice.", "queue why", "warning"),
    _event("queue_not_created", "The node has no queue and it could not be made.", "queue why", "error"),
    _event("dead_letter_sent", "A dead letter was announced.", "node task sha256 origin", "warning"),
    _event("dead_letter_not_sent", "It could not be; it is tried again.", "node task why", "error"),
    # --- a router
    _event("router_started", "The router runs.", "queue"),
    _event("router_stopped", "It has ended in order."),
    _event("router_waits", "Something did not answer; the router goes on in a moment.", "why code", "warning"),
    _event("document_received", "A task document came, so many seconds after it was sent.", "queue age_s", "debug"),
    _event("cluster_discovered", "Discovery answered.", "task cluster discovery nodes s"),
    _event("task_planned", "The plan is written.", "task cluster action nodes cap"),
    _event("task_parked", "The plan waits until a person approves it.", "task cluster why", "warning"),
    _event("task_routed", "Every node without an end was rung.", "task cluster"),
    _event("document_of_ended_task", "A late copy of a task that ended and was put away; it was deleted.",
           "task cluster"),
    _event("document_waits", "It cannot be judged now and was given back to the queue.", "task why code s",
           "warning error"),
    _event("document_refused", "It can never be accepted: recorded, announced, deleted.", "task code why", "error"),
    _event("requeue_failed", "A message could not be given back; its loan runs out by itself.", "queue why",
           "warning"),
    _event("task_closed", "All its nodes have ended.", "task"),
    _event("sweep_failed", "A record of an open task cannot be read.", "why", "error"),
    # --- a janitor
    _event("janitor_started", "The janitor runs, and leads if nobody does.", "by"),
    _event("janitor_leads", "It leads now, and does the chores.", "by term"),
    _event("janitor_stopped", "It has ended in order."),
    _event("janitor_waits", "Something did not answer; the janitor goes on in a moment.", "why code", "warning"),
    _event("janitor_not_resigned", "It could not give up the lead; the end of its session does.", "why", "warning"),
    _event("chore_failed", "A chore could not be done, wholly or for one thing; the others are.",
           "chore of why code", "error"),
    _event("clock_differs", "This machine's clock is not the tree's: what time decides is left alone.", "skew_s",
           "error"),
    _event("clock_is_right", "It agrees again.", "skew_s"),
    _event("hold_ended", "A hold was removed at its expiry.", "hold on by"),
    _event("task_expired", "not_after has passed: nothing of the task begins any more.", "task cluster", "warning"),
    _event("slot_overdue", "A slot was watched for its whole term: it uses its task's budget, and stays held.",
           "node task attempt cluster watched_s", "error"),
    _event("node_absent", "Where it was discovered nobody knows the node any more; that is looked at again.", "node",
           "warning"),
    _event("node_gone", "The machine is proved terminated: its slots are freed, its attempt ended.",
           "node why freed attempt", "warning error"),
    _event("node_replaced", "A task had the machine terminated, and enough others serve: its attempt succeeded.",
           "node attempt why freed"),
    _event("successor_awaited", "A task had the machine terminated, and there is no other one yet: its slot is held.",
           "task attempt why", "warning"),
    _event("assignment_gone", "The assignment of a terminated machine ended.", "node task", "warning"),
    _event("task_put_away", "Its records are in the history; a tombstone is left of it.", "task cluster"),
    _event("history_missing", "This janitor has no history: nothing is put away.", "", "warning"),
    _event("queue_deleted", "The queue of a terminated machine was deleted.", "queue"),
    _event("reclaim_capped", "More machines ended within the hour than may be declared so: a person must look.",
           "node why an_hour", "error"),
    _event("discovery_unknown", "An open task was planned with a discovery that this janitor does not have.",
           "discovery", "error"),
    _event("bracket_left_over", "A bracket in which nobody acts is to be ended; why: what the janitor saw.",
           "cluster bracket why", "warning"),
    _event("bracket_rung", "A node was asked to end a bracket; tries: how often that failed in a row.",
           "node cluster bracket tries unreached", "info warning"),
    _event("bracket_unclaimed", "A node that was ending a bracket has said nothing for too long; another is asked.",
           "node cluster bracket", "warning"),
    _event("bracket_stuck", "A bracket is to be ended, and no node is left that could: a person must.",
           "cluster bracket", "error"),
    _event("rung_again", "The nodes of an open task without an end were rung again.", "task nodes unreached",
           "info warning"),
    _event("installation_counted", "The census: for each number its rows, for metrics.",
           "open_tasks nodes_without_end nodes_in_line failed_nodes oldest_open_task_seconds slots breaker_open "
           "recent_failures holds dead_letters_open oldest_dead_letter_seconds unreadable_records "
           "counted_timestamp_seconds queue_messages brackets_open brackets_failing oldest_bracket_seconds", "debug"),
    _event("queue_not_counted", "The transport did not say how much is in a queue.", "queue why", "warning"),
    # --- a scheduler
    _event("scheduler_started", "The scheduler runs, and leads if nobody does. sources: where schedules are declared.",
           "by sources"),
    _event("scheduler_leads", "It leads now, and emits what is due.", "by term"),
    _event("scheduler_stopped", "It has ended in order."),
    _event("scheduler_waits", "Something did not answer; the scheduler goes on in a moment.", "why code", "warning"),
    _event("scheduler_not_resigned", "It could not give up the lead; the end of its session does.", "why", "warning"),
    _event("schedules_adopted", "What is declared has changed, and is in force now.", "declared new changed retired"),
    _event("schedules_refused", "What is declared cannot be accepted: the last good version stays in force.",
           "origin place faults count", "error"),
    _event("schedules_not_read", "Where schedules are declared cannot be reached; what is in force stays.",
           "origin place why code", "warning"),
    _event("schedules_read_again", "What is declared there can be read and accepted again.", "origin place"),
    _event("schedule_spoilt", "The record of one schedule cannot be read: it does not fire, all others do. Delete it "
           "in ZooKeeper, and what is declared is adopted from now.", "schedule why", "error"),
    _event("schedule_declared_twice", "Two places declare the same name; the one named in counts does.",
           "schedule place counts", "error"),
    _event("schedule_fired", "The task of a firing is in the global queue; delay_s: after it was due.",
           "schedule task action cluster due delay_s"),
    _event("schedule_skipped", "A firing was left out, because a task of an earlier one is still open.",
           "schedule action cluster due why", "warning"),
    _event("schedule_missed", "Firings that are not made up for: nobody looked in time, or no router would take them. "
           "due: of the latest of them.", "schedule action cluster due why count", "warning"),
    _event("schedule_cancelled", "The task of an earlier firing was cancelled, for the one named in by.",
           "schedule task by", "warning"),
    _event("firings_not_sent", "The global queue did not take what is decided; it is sent again.", "count why code",
           "error"),
    _event("schedule_task_ended", "A task of a schedule is over. counts: its nodes by outcome.",
           "schedule task verdict counts", "info warning"),
    _event("schedule_stale", "A schedule is without the success that it should have had, since then.",
           "schedule cluster since notify runbook", "error"),
    _event("schedule_fresh", "It is not stale any more.", "schedule"),
    _event("schedules_counted", "How many schedules there are, and how many of them are stale, for metrics.",
           "standing stale", "debug"),
    # --- every daemon
    _event("library_said", "A library beneath had something to say.", "logger text why task node attempt phase line",
           "debug info warning error"),
    _event("loop_hung", "The daemon's loop does not move; the process ends itself.", "lag_s", "error"),
    _event("metrics_served", "Metrics can be read at this address.", "address"),
    _event("metrics_not_served", "The address cannot be used; the daemon goes on without.", "address why", "error"),
    _event("metrics_not_written", "The metrics' file cannot be written.", "path why", "error"),
)  # fmt: skip
"""In the order of the reference."""
