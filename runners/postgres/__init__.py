"""Runs, saves and mends PostgreSQL: restarts with the primary last, backups in S3 that are restored to prove them,
vacuum and reindexing.

It knows one *cluster*: a primary and its streaming replicas, one server a node. Every operation asks the servers
themselves, the own one and those in `peers`, because each has a view of its own.

## The node's configuration

The own server is found at `host` and `port`; `peers` are the other servers of the cluster. The user needs
`pg_monitor` everywhere; a handover needs the right to call `pg_promote`, a logical backup the right to read what is
dumped, a base backup `REPLICATION`, and upkeep the ownership of tables. A superuser has all of these. Programs of
PostgreSQL (`psql`, `pg_dump`, ...) are looked for in `programs`, else on `PATH`; with `run_as` they run as that user
of the system, which an agent that is root needs for `restore_check` and for the built-in handover. Passwords travel
in a program's environment, never in its arguments, and are not logged.

## `restart`: replicas first, the primary last

A replica restarts when all others are well, `synchronous_standby_names` can be satisfied without it, nobody has paused
its replay and no backup reads from it. The primary's turn may come first, because nodes stand by zone and id: then it
waits until as many replicas as the task has other nodes were started after the task was accepted. (Compared are ages,
each by the clock of one machine; five seconds of difference are forgiven.)

What then becomes of the primary is the configuration's `handover`:

- `none` (the default): it is refused, unless the argument `allow_primary_downtime` says that writes may fail for as
  long as the restart takes.
- `command`: `switchover` is run (`["patronictl", "switchover", "--force"]`, repmgr, ...), and once another server is
  the primary and this one follows it, this one is restarted as a replica.
- `built_in`: the server is *stopped first, cleanly*, which sends all of its WAL. `pg_controldata` must say that it
  was shut down, and where its last checkpoint stands. It is fenced with `standby.signal`, so that whoever starts it
  starts a replica. Only then, and only when the chosen replica has replayed that checkpoint, is that one promoted;
  then the old primary is started and follows it. Nothing is rewound, because nothing can have diverged. If the
  replica does not get that far, the fence is removed and the old primary started again as what it was.

Built in, every server must find the primary by itself: `primary_conninfo` of *all* of them names all the others and
says `target_session_attrs=read-write`, `recovery_target_timeline` is `latest`, and a `primary_slot_name` exists on
the heir too. Logical slots are refused, because they would stay behind. Nothing of this is changed for you: it is
looked at before, and refused with the step to take.

## When it does not act

Waited for: a server that is silent, starting, not streaming, too far behind; paused replay; a base backup or a dump
that runs; no primary (an election, perhaps); for upkeep an old transaction and a lag. Refused: two primaries, servers
of different clusters (system identifier), a wrong password or database, rights that are missing, a version of the
server that this build does not know (13 to 18 are known, 15 is what the tests run), a program that is older than the
server, a bucket that is not there, more tablespaces than a base backup can stream, a scratch folder without room.

## What counts as well

After a restart: another start than before runs; there is one primary, of the same system identifier and timeline; it
sees the server streaming, near enough; and every other replica that answers streams, too. For a primary: it takes
writes and all replicas follow *it*. Believed after several good answers in a row.

## Backups

A backup is a folder in S3 whose manifest is written last; one that was killed has none and does not count. Nothing
touches the disk of the node. `backup_logical` writes the roles, the tablespaces, and a `pg_dump` of each database;
every table's rows are counted and hashed *in the very snapshot that pg_dump reads*, and noted. (Roles carry password
hashes where the user is a superuser: guard the bucket.) `backup_base` streams `pg_basebackup` with the WAL that makes
it whole. A replica does it if the task has one; the primary skips. One node of a task is enough: the others skip when
they find its backup. `restore_check` restores the newest one into a server of its own on a socket in a private
folder, compares what was noted, and leaves nothing; that server runs none of the restored configuration (no
archiving, no subscriptions, no libraries). What it found is kept beside the backups.

## When nobody knows

A restart: the server's start time is noted before; another one after it was asked for means that it happened. A
handover that was cut off is brought to its end: forward if the heir was asked to promote itself, back if it was not
and every peer says that it is no primary; else the fence stays, and a person is asked. A backup or check: the
manifest is there, or it did not happen. Vacuum: by the times that the server keeps of each table. Reindexing: by the
file each index is kept in; half-built `_ccnew` indexes are dropped.
"""
