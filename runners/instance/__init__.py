"""`instance_task:reboot` reboots one machine after another, and calls each well when it is up in another boot and its
checks pass.

## The node's configuration

All of it optional:

```toml
actions = ["instance_task:reboot"]

[runners.instance_task]
reboot = ["systemctl", "reboot"]                         # ends with 0 when it has asked, else only when it has not
required_file = "/run/reboot-required"                   # there = a reboot is required (Debian's own; else make one)
scheduled_file = "/run/systemd/shutdown/scheduled"       # there = somebody has a shutdown scheduled: it waits
checks = [["systemctl", "is-active", "redis-server"]]    # must all end with 0, before as after; 20 s each, 60 s in all
```

## What happens

1. *pre_check* waits while a check fails or somebody else's shutdown is scheduled, and notes which boot this is.
2. The *action* notes that it asks, asks, and waits to be killed. It asks once, whatever crashes.
3. After the boot the agent finds "action begins" under another boot id: the reboot happened, also when the shutdown
   ended the action's processes by signals first.
4. *post_check* passes when the checks do, within `settle_s`.

What was asked is not taken back, also not by `cancel`: nobody can know whether that came in time. A machine that was
asked and stays up ends *unsafe* after `soft_s` and `settle_s`, because it may go down at any moment; its slot is kept.
A command that fails (another code than 0, or not there) has not asked: *failed*, the slot is free, and it is tried
again.

When the agent and the action are gone but the machine is not, `recover` says *not done* if nothing was asked yet, and
*unknown* if it was: then the node is waited for, and the boot that comes settles it.
"""
