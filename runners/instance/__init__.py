"""Maintains the machines themselves: reboots them, patches them, replaces them, one after another.

## The node's configuration

All of it optional:

```toml
actions = ["instance_task:*"]

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

## Patching

`patch` finishes what an earlier upgrade left half done, upgrades, and reboots where `required_file` says that it
must. It waits while somebody else installs packages, and begins nothing without room. An upgrade that fails leaves a
node that is well: it is tried again. Packages that are half installed, and a machine that rebooted in the middle of
an upgrade and not because of it, are for a person: the attempt ends *unsafe* and says how to finish.

## Replacing

`replace` runs `drain`, has the machine's Auto Scaling group terminate it without making the group smaller, and dies
with the machine. The janitor holds its slot until as many machines serve as before, with an agent on each new one,
and records that the attempt *succeeded*. It is refused for a machine of no group and for a group whose `Launch`,
`Terminate` or `AddToLoadBalancer` is suspended; it waits while the group has fewer machines in service than it
should.

A drain that fails, or a group that refuses, is taken back with `undrain`. A machine that was asked to end and lives
on ends *unsafe* after `soft_s` and `settle_s`.

The node's rights in AWS: `autoscaling:DescribeAutoScalingInstances`, `autoscaling:DescribeAutoScalingGroups` and
`autoscaling:TerminateInstanceInAutoScalingGroup`, the last only for groups of its own cluster. Its id in Taskerman is
its instance id.
"""
