"""`heartbeat_task:ping` does nothing, on purpose: that it was done says that a scheduler emitted it, a router planned
it, an agent took a slot and ran it, and that its end was recorded. How long that took is its only result.

## Is everything alive, and how slow is it?

Schedule it every few minutes on one node, with `limit: 1`, on a cluster of its own or on one whose maintenance it may
delay: it takes a slot there like everything else. Then

- when it has had no success for `stale_after`, something on the way is broken, whatever the daemons say of
  themselves: `taskerman schedules --ill` names it, and `taskerman_schedules_stale` counts it;
- `taskerman_start_delay_seconds{action="heartbeat_task:ping"}`, told by the node's agent, is the time from the moment
  at which it was due until it began; its log line (`pinged`) and the agent's event `phase_entered` say it of each one;
- `taskerman explain TASK` says what one waits for that does not come.

It never fails because it was late: a heartbeat that counted as a failure of its cluster would open the breaker there,
and stop what it only watches. Whoever wants to be woken by lateness asks the metric.

## What is measured, and what is not

The time when it was due is the scheduler's, and when it began this node's: a clock that is wrong by a second is a
second in the result, and one that is behind may make it less than nothing; then it is said to be so. A jitter is not
in it; holds, windows, deferrals and other tasks of the cluster are. A task that nobody scheduled is measured
from the moment at which a router accepted it.

## When nobody knows

Doing it twice does no harm, so what is lost is done again.
"""
