"""`mariadb_task` maintains a MariaDB Galera cluster, one member after another. `restart` restarts a member when the
others can do without it and can hand on what it misses; `backup` streams a member's data to an object store, while the
cluster does not wait for that member. It never begins a cluster, and never decides which part of a torn one goes on.

## The node's configuration

In the settings file of each node; only `peers` must be there, and `backups` for backups:

```toml
actions = ["mariadb_task:restart", "mariadb_task:backup"]

[runners.mariadb_task]
socket = "/run/mysqld/mysqld.sock"              # where this node's server answers
peers = ["10.0.0.8:3306", "10.0.0.9:3306"]      # the servers of all other members
members = 4                                     # only with arbitrators (garbd), which are counted here
defaults_file = "/etc/taskerman/mariadb.cnf"    # [client] with user and password, mode 0600
restart = ["systemctl", "restart", "mariadb"]
print_defaults = ["mariadbd", "--print-defaults"]
backups = "s3://backups.example.com/mariadb"
timeout_s = 5                                   # how long a server may take for one answer
```

The user needs `PROCESS` on every member; for backups also `SUPER` (which `wsrep_desync` asks for), `RELOAD`,
`LOCK TABLES`, `BINLOG MONITOR`, and for `mariadb-dump` `SELECT, SHOW VIEW, EVENT, TRIGGER`. The agent must be able to
read the server's files for a backup by `mariabackup`; where it can read the server's pid file, a restart is told from
the process and not only from the membership.

## What is looked at before a restart

Every member is asked, twice, half a second apart, because each knows only the component that it is in.

| what is seen | answer |
|---|---|
| the server is in no Primary component | refused: a restart does not help; what goes on is a person's decision |
| the server is down, and nobody in a Primary component can be asked | refused: it might begin a second cluster |
| members of different clusters | refused: a person decides which is the true one |
| without this one (and others of the task) no majority (`pc.weight`) is left | refused, unless `majority: false` |
| the next start would begin a cluster (`wsrep_new_cluster`, an empty `gcomm://`) | refused |
| wrong password, missing rights, a password file that others can read | refused |
| the server is Joining, Joined or Donor, or `wsrep_desync` is ON | waits |
| the server is silent, but something listens there | waits |
| more others are away, out of step or behind than the task has taken down (`concurrency` - 1) | the cluster waits |
| the members do not see the same members | the cluster waits |
| flow control holds up writes, more than `max_paused` of the time | the cluster waits |
| a change of the schema runs anywhere | the cluster waits |
| no other member can hand on what will be missed (gcache) | waits, unless `full_copy: true` |
| the server is down, the others are Primary and none sends or receives data | acts: that is what a redrive finds |

How far back a donor can hand on is known exactly (`wsrep_local_cached_downto`); for how long it will is estimated from
the present pace of writes, once more bytes than its cache holds have gone through it.

## What counts as well afterwards

A new start of the server; Synced, ready, in a Primary component, with a short queue and `wsrep_desync` OFF; and more
than half of all servers, this one included, see the very same members. Several times in a row. A server in another
cluster than its peers is not waited for.

## Backups

One node of the task makes one (`each_node: true`: each); the others skip. The server leaves flow control
(`wsrep_desync = ON`), its data is streamed, and it comes back, whatever happens: by the action, else by `abort` or
`recover`; a server that could not be put back is not called well, and its slot is kept. No backup begins while another
member is out of step, or is away. The manifest is written last and carries the Galera position, the server's version
and each part's checksum; what has no manifest is no backup. Afterwards old ones are removed (`keep`, `keep_days`).

To restore: `mbstream -x -C DATA < data.xbstream`, `mariabackup --prepare --target-dir DATA`, hand DATA to the server's
user; begin a cluster with it, or let the server join. Of `mariadb-dump`: `zcat dump.sql.gz | mariadb`, into one member.

## When nobody knows

A restart: the process (and membership) is noted before. If the process that acted is lost, another one means that the
restart happened; none asked for: that it did not; the same one after it was asked for: nobody knows, and a person is
asked unless the server is found well. A backup happened when its manifest is there.
"""
