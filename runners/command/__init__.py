"""`command_task`: runs what a task brings along, if the node lets it through: a command of the node (`run`), a script
(`script`), or a program from S3 (`binary`).

A node runs nothing that its configuration does not name. Whoever may send tasks is taken to be an enemy: what they
choose is matched word by word, as a user that the node names, in an environment made anew. There is no shell.

## The node's configuration

```toml
actions = ["command_task:run"]

[runners.command_task]
user = "nobody"                      # as whom, where a task names nobody; an agent that is root wants it said
users = ["backup"]                   # whom else a task may name
env_allowed = ["REPORT_*"]           # which variables a task may set
cwds = ["/srv/reports"]              # where a task may stand, beside /

[[runners.command_task.allow]]
argv = ["/usr/local/bin/redis-backup", "--to", "s3://backups.example.com/**"]
users = ["backup"]

[[runners.command_task.allow]]
argv = ["/usr/bin/nodetool", "repair", "-pr", "*"]

[runners.command_task.interpreters]
bash = {argv = ["/bin/bash"], options = ["-e", "-eu"], users = ["nobody"]}

[[runners.command_task.binaries]]
prefix = "s3://tools.example.com/bin/"
signer = "/etc/taskerman/release.pub"
args = ["--cluster", "*"]
```

In an argument `*` is any name and `**` any name with folders: neither is empty, begins an option or climbs (`..`). What
may follow is said by `more`: `nothing`, `words` that are no options, or `anything`. A program that runs what its
arguments say (`sh -c`, `find -exec`, `env`) lets through everything, whatever the pattern; and so does an interpreter:
name one only for users who may do whatever the senders of tasks like.

A program is run only from a path that nobody but root, the agent's user and its own user can change: every folder and
link on its way is looked at. A script stands in a file without a name, which nobody else can reach and which is gone
with the process. A fetched program is hashed each time while it is copied into such a file, and the copy is run.

## When it does not act

It *refuses*, and says which lines the node's operator would have to add: a command, script or program that no rule
lets through; a user, variable or folder that the node does not let a task name; a program that somebody else could
change; an agent that may not become that user; an object or bucket that is not there; another hash, a missing
signature, too many bytes. It *waits* while S3 does not answer, while there is no room on the disk, and while `check`
says that the node is not well. It *skips* a node where `check` ends with a code of `check_nothing_to_do`.

## What its exit code means

Of `success` and `nothing_to_do`: done. Of `try_again` (75, as of `sysexits.h`): it has done nothing and could later; it
is run again in the same attempt after `try_again_after_s`, until the soft timeout. Any other: the attempt failed.

## What counts as well

`check` does: a command of the node, which has to be allowed as any other, and to end with 0 several times in a row.
What is to make an ill node well says `check_before: false`.
Without one nobody looks at the node: it counts as well when the command's own end was seen, whatever its code. One that
had to be killed, or whose end nobody saw, leaves the node *unsafe*, and its slot kept, for a person to look at.

## When nobody knows

A note is saved before the start, and the exit code after the end. No note: it did not happen. A code: it happened, or
it failed. A note without a code: nobody knows, and a person is asked unless `check` finds the node well.
"""
