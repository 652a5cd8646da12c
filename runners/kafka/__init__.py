"""Restarts brokers and controllers of a Kafka cluster, reloads their settings, and gives leaders back.

**No real Kafka was asked.** There is none that this project can install, so these runners were tested against what
the admin tools of Kafka 3 and 4 print, written down by hand from their source and documentation, in many states: [the
table of states and decisions](../reference/states-kafka.md) is the data of the tests. Try them first on a cluster
that you may lose.

## The node's configuration

`node_id` and `bootstrap` have no default. `bootstrap` names two or three *other* brokers: what this one says of itself
is not enough. The tools are those of Kafka (`tools`, `suffix`), with `command_config` for security. `role` is that of
`process.roles`; with `zookeeper` the cluster is taken to be in ZooKeeper mode, and the controller's name is read there.

Answers are read strictly. A line that is not known (another version, a warning before the answer, half an answer) is a
refusal with that line, never a guess; only the client's word that one of the brokers of `bootstrap` was not reached is
let pass. An agent's environment should set no `JAVA_TOOL_OPTIONS` and no `KAFKA_OPTS` that print.

## When it does not act

A **restart** waits while any partition of the cluster is under-replicated or has no leader, while partitions are
being reassigned, while a broker is fenced or does not answer, and, on a controller, while a majority would not be in
step without it. It refuses when a topic would have fewer replicas in step than its `min.insync.replicas`: no waiting
helps there. It refuses another concurrency than 1. A broker that is down may be started. `config_reload` refuses
settings that the broker does not know and secret ones, and skips what is so already; what may be set only in the file
is refused by the broker itself, before anything changed. `preferred_leader_election` acts only when more than
`above_percent` of the partitions that the broker should lead are led by others, and every replica is in step.

**The controller goes last**, because each restart of it makes another one the controller. Kafka's tools do not say when
a broker was started. So the active controller waits until each other was started after the task was accepted, as
`peer_started` says (`["ssh", "{host}", "..."]`); where that is not configured, for `controller_waits_s` a node. It is a
courtesy: in the end it goes.

## What counts as well

As other brokers see it: the node is registered, not fenced, and answers; it is in step with all its partitions, and no
partition of the cluster is under-replicated or without a leader; a controller votes and is in step. Several times in a
row. After a restart that was asked for, only a new start of the service counts.

## When nobody knows

A restart notes what `started` prints, which differs after each start. `config_reload` notes the values before, and
compares. An election compares leaders, and may be repeated.
"""
