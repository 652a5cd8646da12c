"""Maintains a cluster of etcd 3.4 to 3.6: `restart` takes one member after another down and up, after a leader has
handed over; `defragment` gives back the space that compaction freed; `snapshot` saves the database to S3, verified.

## The node's configuration

In the settings file of each node, all of it optional but `backups` for snapshots:

```toml
actions = ["etcd_task:*"]

[runners.etcd_task]
endpoint = "https://127.0.0.1:2379"                # where this node's server answers clients
name = "etcd-1"                                    # --name; to find its server in the list while it is down
endpoints = ["https://10.0.0.8:2379"]              # who is asked while the own one is down; name two or three
ca_file = "/etc/etcd/ca.pem"
cert_file = "/etc/etcd/client.pem"
key_file = "/etc/etcd/client-key.pem"
username = "root"                                  # with authentication on
password = "..."                                   # keep the file readable by the agent's user alone
restart = ["systemctl", "restart", "etcd"]
data_dir = "/var/lib/etcd"                         # its free space is looked at before a defragmentation
backups = "s3://backups.example.com/etcd"
scratch = "/var/tmp"                               # where a snapshot waits for its upload
snapshot_status = ["etcdctl", "snapshot", "status"]  # with 3.6: ["etcdutl", "snapshot", "status"]
max_lag_entries = 1000                             # how far behind in the raft log a member is in step
timeout_s = 2                                      # how long a server may take for one answer
```

Servers are asked over the JSON gateway of their client address, which is on by default (`--enable-grpc-gateway`), and
for `/metrics` there. So no program has to be installed but the one that checks the file of a snapshot, and no secret
stands in an argument list or an environment. The gateway does not know users by the name in their certificate: with
authentication on, give a user and a password.

## When it does not act

Every member of the list is asked. An action begins when all voters answer, are of one cluster, follow one leader, have
a read confirmed by a majority, and none is more than `max_lag_entries` behind the others or behind in applying. Else it
waits, and nothing has failed; also while a member is joining (a learner, or one that was added and never started).

**Refused**, because waiting would not help: more than one voter at once (`concurrency` must be 1); an alarm, which a
restart does not cure; a cluster of two or a single server, without `outage: true`; another version; missing rights;
files of TLS that cannot be used; a wrong endpoint, which would restart a healthy server; nobody that can be asked.

A server that is down may be started, whatever the others do: that is what a redrive after a repair finds.

## Leaders

A leader waits until the task has restarted the others (`/metrics` says when each was started), so that leadership
moves once; and then it hands over before it goes, to a voter that is well and was restarted already, so that nobody
waits for an election. Nobody fit to take over: nothing is restarted. It does not wait for ever: after
`leader_patience_s` (15 minutes) in which no member was restarted it goes, though a planned node is gone or has ended
without a restart.

## What counts as well afterwards

Another process listens than before; it is in step in the raft log, has applied it, all that answer see the same
leader, and a majority confirms a read through it. Three times in a row, over two seconds.

## Defragmenting

A member answers nobody while it defragments, about ten seconds a gigabyte. So: one at a time, all others well, the
leader last and after it handed over, and not where less than `at_least_bytes` would come of it. With the alarm
`NOSPACE` every member near its quota is done. Compact the history before that. The alarm stays armed until a person
disarms it, or, with `disarm: true`, until every member is below nine tenths of its quota.

## Snapshots

All nodes of a task make one snapshot: the first whose member follows and is well makes it, the others skip. A leader
leaves it to them, for `leader_patience_s`. A snapshot takes a place in the scope `backup`. etcd sends the sha256 of
the database behind it; the file waits in `scratch`, readable by nobody else, until that and `snapshot_status` have
found it whole, and is uploaded then. To restore: `etcdctl snapshot restore snapshot.db`, as etcd's own pages say.

## When nobody knows

The process that listens is noted before a restart: by the kernel where the agent is root or the server's user, else by
the start that its metrics say. If the process that acted is lost, another one means that the restart happened; none was
asked for: that it did not; the same one after it was asked for: nobody knows, and a person is asked unless the server
is found well. A server counts how often it has defragmented since its start, which tells whether it did. A snapshot is
there as a whole, under the attempt's name, or not at all.
"""
