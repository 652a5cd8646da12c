"""Restarts, repairs, cleans up and backs up the nodes of a Cassandra 4 cluster, and says whether one is fit.

**No real Cassandra was asked.** There is none that this project can install, so these runners were tested against
what `nodetool` 4.x prints, written down by hand from its source and documentation, in many states: [the table of
states and decisions](../reference/states-cassandra.md) is the data of the tests. Try them first on a cluster that you
may lose.

## The node's configuration

`address` is what `nodetool status` calls the node; it has no default. Name two or three `peers`: what a node says of
itself is not enough, before as after. Where JMX is bound to loopback, `ask_peer` goes another way, for instance
`["ssh", "{peer}", "nodetool"]`. User and password of JMX belong into `nodetool` and `ask_peer`, as a password file:
`["nodetool", "-u", "taskerman", "-pwf", "/etc/taskerman/jmx"]`.

Answers are read strictly. A line that is not known (another version, another language, a warning of Java before the
answer, half an answer) is a refusal with that line, never a guess. Set `JAVA_TOOL_OPTIONS` in no
environment of the agent.

## When it does not act

A **restart** waits while any other node is down, joins, leaves or moves, while the schema has two versions, while this
node streams, validates, cleans up or builds, while hints wait here, and while a peer does not see this node up. It
refuses when a keyspace would be left without a quorum in this data centre (fewer than three copies), when a disk is
nearly full, when the version is not 4.x. More than one node at once is possible within one `rack`, which the task must
name: nodes of others are skipped, and whoever keeps which range is looked at, so that two that begin in the same moment
are no danger. A node that is down or drained may be restarted: that is what a redrive after a repair finds.

A **repair** goes through the ranges whose first replica this node is, so that the task as a whole repairs each range
once. Before each piece its replicas are asked whether they are up and repair nothing. Two nodes that ask in the same
moment may still begin together: leave `concurrency` at 1 where that matters. A piece that fails is tried again, and
then fails the action by its name. A process that was killed is followed by one that goes on with that piece; a new
attempt begins anew. `cleanup` wants every node up and at rest, and room on the disks. `backup` wants the node at rest,
not the others. `rebuild_check` acts on nothing and fails with every reason that speaks against counting the
node; its place is free at once.

## What counts as well

The server is NORMAL, its gossip and native transport are on, the schema is one, nothing streams; more than half of the
configured peers answer, and each that does sees it up and normal, has heard of this very start (the generation), and
knows it to serve clients. Several times in a row.

## When nobody knows

A restart notes the gossip generation, which grows with each start; a grown one means that it happened. A node that was
only closed to clients is opened again; one that was draining is restarted, because nothing else opens it. Repair and
cleanup note each piece; a backup is there when its manifest is, which is written last. A snapshot of a killed attempt
is removed by `abort`, or by the next backup.

## Backups

Content is kept once, named by its checksum (`data/<node>/<sha256>`), and each backup lists its files. So a backup reads
every file of the node, and uploads only what is new. Removing old backups never removes content that a kept one names,
nor any that is younger than three days. To restore, read `files.json` of a backup and fetch each file by its checksum.
"""
