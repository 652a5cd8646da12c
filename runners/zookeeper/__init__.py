"""Maintains an ensemble of ZooKeeper 3.6 to 3.9: `restart` takes one member after another down and up, the leader
last; `backup` copies one healthy follower's snapshot and transaction logs to S3; `purge` removes old ones from a
server's disk.

## The node's configuration

In the settings file of each node, all of it optional but `backups` for backups:

```toml
actions = ["zookeeper_task:*"]

[runners.zookeeper_task]
host = "127.0.0.1"                                # where this node's server answers clients
port = 2181                                       # its client port, without TLS
peers = ["10.0.0.8:2181", "10.0.0.9:2181"]        # all other members; empty: as conf names them
admin_port = 8080                                 # of every AdminServer, asked where mntr is not whitelisted
restart = ["systemctl", "restart", "zookeeper"]
data_dir = "/var/lib/zookeeper"                   # has version-2 in it; empty: as conf says
log_dir = "/var/lib/zookeeper-log"                # dataLogDir, when it is another
backups = "s3://backups.example.com/zookeeper"
max_lag_transactions = 1000                       # how far behind its leader a member is in step
max_outstanding = 100                             # requests that may wait in a server that is well
timeout_s = 2                                     # how long a server may take for one answer
```

Each server is asked `srvr` and `mntr`, and the node's own `conf` where `peers` or `data_dir` is empty. Every member
needs `4lw.commands.whitelist=srvr,mntr,conf`; what is missing is named, and nothing is done. Name `peers`: while a
server is down, its `conf` cannot be asked who the others are. The agent should be root, or the server's user: it
looks up which process listens on the port.

## When it does not restart

Every member is asked, because a leader that is well in its own eyes says nothing about a follower that has stopped
following. Only voters count for the quorum; observers are asked, and may be down. The action begins when *all* other
voters serve, and one leads, which counts all the others as followers in step. It waits, and nothing has failed, while

- a member does not answer, runs and does not serve, synchronizes, is in another epoch than its leader, or more than
  `max_lag_transactions` away from it; or more than `max_outstanding` requests wait in it;
- nobody leads, or two say so, or the members do not agree how many voters there are (a reconfiguration);
- the server itself runs and does not serve; `stuck: true` restarts it all the same, when the others have a leader.

**Refused**, because waiting would not help: more than one voter at once (`concurrency` must be 1); a member that
`peers` does not name; groups or weights; an ensemble of two, or a single server, without `outage: true`; another
version; a wrong port, which would restart a healthy server; nobody that can be asked.

A server that is down may be started, whatever the others do: that is what a redrive after a repair finds.

## The leader last

A leader that goes costs an election, so it waits until the task has restarted the others: as many members as the
task has other nodes were started since it was accepted. `zk_uptime` tells that. It begins anew with an election too,
so that after one in mid-task the leader may go before its turn, which costs another election and no more. It does not
wait for ever: after `leader_patience_s` (15 minutes) in which no member was restarted it goes, though a planned node is
gone or has ended without a restart.

## What counts as well afterwards

Another process listens than before; it serves in a mode, its `zk_peer_state` is past synchronization, its zxid is in
step with its leader's, and the leader counts as many followers in step as say that they follow. Three times in a row,
over two seconds.

## Backups

All nodes of a task make one backup: the first that follows and is well makes it, the others skip. A leader leaves it
to them, for `leader_patience_s`. A backup takes a place in the scope `backup`.

A snapshot of ZooKeeper is taken while transactions go on, so by itself it is of no moment at all. It is good with the
logs that reach back to its name and on to the last transaction applied when it was done. So the newest snapshot is
taken whose checksum, which ZooKeeper writes last, is that of its content; then the server is asked what it has applied;
then the logs are copied up to exactly that transaction. Each record's checksum is verified, and that none is missing.
What is copied is what the ensemble had agreed on: no padding, no half record, nothing that a new leader might take
back. `snappy` snapshots cannot be checked here and are refused; `gz` can.

To restore, put the parts as they are named (`version-2/...`) into the empty `dataDir` of *every* member, beside its
`myid`, and start them. Members that start empty may elect one of themselves, and what was restored is lost.

## Purging

Nothing goes before `keep` (3 or more) snapshots were read and found whole, and the logs from the oldest of them on
have no gap. Then older snapshots go, and logs that end before it. A folder with anything in it that is not
ZooKeeper's by its exact name is refused, and the file named. `dry_run: true` says what would go. With it,
`autopurge.purgeInterval` is not needed; both together do no harm.

## When nobody knows

The process that listens (its pid, and when it began) is noted before a restart. If the process that acted is lost,
another one means that the restart happened; none was asked for: that it did not; the same one after it was asked for,
or a process that is not ours to look at: nobody knows, and a person is asked unless the server is found well.
`zk_uptime` is no witness here, because an election resets it. A backup is there as a whole, under the attempt's name,
or not at all. A purge is done when nothing is left to remove, and may be done again.

## Taskerman's own ensemble

It may be maintained like any other. An action that runs needs no ZooKeeper: an outage only delays what is recorded and
what starts next. Agents of the members reach ZooKeeper through all members (`TASKERMAN_ZOOKEEPER_HOSTS`), lose the one
that goes down, and go to another. Give it a task of its own, one at a time, and let no other task of that cluster
run beside it (`exclusive: true`). A backup of it holds what Taskerman knew at that time: read
[how it is restored](../how-to/restore-zookeeper.md) before you need to.
"""
