"""`redis_task` maintains Redis, one server after another. `restart` restarts it: in a Redis Cluster a master's slots
are with a replica before its server goes down, so that reads and writes go on; outside a cluster it restarts replicas,
and a master only when you say so. `failover` has a replica take over from a master, whose server stays up. `backup`
stores a snapshot of each shard.

## The node's configuration

In the settings file of each node, all of it optional:

```toml
actions = ["redis_task:*"]

[runners.redis_task]
host = "127.0.0.1"                              # where this node's server answers
port = 6379
announced = "10.0.0.7:6379"                     # what its peers call it, when that is another address
peers = ["10.0.0.8:6379", "10.0.0.9:6379"]      # who is asked while the own server is down; name two or three
restart = ["systemctl", "restart", "redis-server"]
username = "taskerman"
password = "..."                                # keep the file readable by the agent's user alone
backups = "s3://backups.example.com/redis"      # where snapshots go
timeout_s = 2                                   # how long a server may take for one answer
```

With ACLs the user needs `ping info client|setname client|list cluster|nodes cluster|info cluster|failover`, and, for
masters that go down as masters, `dbsize config|get`, on every server of the cluster; for backups `bgsave config|get`,
or where the snapshot is asked for as by a replica `sync psync replconf`.

## What is looked at before a restart, and before a failover

Every server of the cluster is asked, because each has a view of its own. The action begins only when

- no server that answers sees another `cluster_state` than `ok`; no slots are being migrated; all agree on who is
  master and who follows whom (else a failover is under way);
- no more of the *other* servers are unwell than the task itself may have taken down (`concurrency` - 1). Unwell: does
  not answer, is marked failed by a peer, is suspected by two, is loading, has no link to its master, is too far behind;
- every other server of the *same shard* is well, whatever the concurrency, and nobody else is about to take one down;
- with `failover: false`: a majority of masters is left to elect.

Anything else is waited for, and nothing has failed. **Refused**, because waiting would not help: a master with slots
and no replica; a master outside a cluster; a master that would go down as one and keeps nothing on disk (it would come
back empty and its replicas would follow); a server that is down when no peer can be asked; a wrong configuration.

A server that is down may be started: that is what a redrive after a repair finds. One that is merely silent, and that
its peers do not call failed, is left alone.

A failover asks the same of the cluster, and skips a server that has nothing to hand over: a replica, a master without
slots. It refuses a master outside a cluster, and waits at one that is down: what becomes of its slots is the cluster's
affair then. The replica that is furthest takes over.

## Two of one shard

With two at once, a master and its replica may pass their checks in the same moment. So each, before it acts, opens a
connection to every server of its shard whose name (`CLIENT LIST` shows it) says what it is about to do, and steps back
when it sees another's. Nothing is written into your data. A server that closes idle connections (`timeout`) after less
than a restart takes weakens this.

## What counts as well afterwards

The server answers, runs as a new start (`run_id`), has loaded its data, is in step with its master, sees
`cluster_state:ok`; and of its peers more than half can be asked, and each that can sees `cluster_state:ok`, does not
mark it failed, and *has heard from it since it started*. A server that looks well to itself and that its peers cannot
reach is not called well. Peers that most others call failed are no witnesses.

After a failover the server must be a replica, and counts as well as above.

Masters stay where the failovers left them: one full round usually leaves the former replicas as masters. Nothing is
moved back.

## Backups

A replica that is in step makes its shard's backup; its master skips, unless none is in step or `from_master` says
otherwise, and so does whoever comes after one was made for the same task. Backups are kept by the slots of the shard,
whoever serves them, and `keep` and `keep_days` count by shard; after resharding, the old shards' backups are yours to
remove.

| what is seen | answer |
|---|---|
| the server is down or silent, loads, or is a replica out of step | waits |
| the cluster is not whole, fails over, or moves slots | the cluster waits |
| the server writes a snapshot or rewrites its log by itself | waits |
| less memory is free than writes during the snapshot may copy (`copied` of the data) | refused |
| less disk is free than the last snapshot took and a quarter, or than the data | refused |
| the bucket is not there, or not for this node; `backups` is not set | refused |

The server writes the snapshot (`BGSAVE`), it must say itself that it did, `redis-check-rdb` looks at that very file,
and then it is stored, its manifest last. Where the file cannot be read here, and where the server keeps nothing on
disk, `redis-cli --rdb` asks for it as a replica does: a snapshot that is left where none is wanted would come back to
life with the server's next start. To restore: stop a server, put `dump.rdb` in its place, start it (with
`appendonly no`).

## When nobody knows

The `run_id` is noted before the action. If the process that acted is lost, a new `run_id` means that the restart
happened; none was asked for: that it did not; the old one after it was asked for: nobody knows, and a person is asked
unless the server is found well.

A failover: the role and the epoch of its claim are noted. A server that is a replica now has handed over; one that is a
master still, after the few seconds for which Redis remembers that it was asked, has not. A backup happened when its
manifest is there.
"""
