"""`fault_task`: does harm on purpose, for a time, and undoes it: whoever dies meanwhile.

To see what a cluster does when a node fails, before a node does. Operations: `stop_service`, `kill_process`,
`pause_process`, `fill_disk`, `packet_loss`, `add_latency`; and `undo`, which clears whatever is left over. Nothing is
allowed that the node's configuration does not name:

```toml
[runners.fault_task]
clusters = ["web:staging"]               # the only clusters in which it acts; none unless named
hosts = ["staging-*"]                    # and the only hosts (name or node id); none unless named
max_duration_s = 300
checks = [{http = "http://127.0.0.1:8080/health"}]            # as in service_task
peers = {i-0aaa = {http = "http://10.0.0.1:8080/health"}}
services = {web = {unit = "web.service"}}
processes = {worker = {pattern = "^/opt/worker ", most = 2, start = ["systemctl", "start", "worker"]}}
disks = {data = {path = "/var/lib/data", min_free_bytes = 1073741824}}
network = {interfaces = ["eth0"], ports = [8080], max_loss_percent = 30, max_latency_ms = 500}
```

**When it does not act.** Outside of its clusters, hosts and limits; on what is not named; while this node, or more of
its peers than the task itself explains, are unwell; when nothing but its own process could undo the fault (below), or
the kernel cannot do it (no netem). What an earlier fault left over is undone first, and when that does not succeed
nothing is begun.

**Always undone.** Before the fault is done, what undoes it is on disk (`state_folder`). It is undone at its time, when
the action is interrupted, by `abort` after a kill, by `recover` when the agent died as well, by the next attempt of
any kind, and by `fault_task:undo`. If all of ours is dead, then by what does not depend on us:

- `fill_disk`: at once, and by a reboot. The file has no name, and goes with the process that holds it.
- `packet_loss`: at its deadline. The kernel matches the rules until then (`-m time --datestop`, by the wall clock: one
  that is set back prolongs it). Rules that match nothing any more stay until they are undone, or the machine reboots.
- `stop_service`, `kill_process`, `pause_process`, `add_latency`: at their deadline, by the *switch*, which is a timer
  of systemd's (`systemd-run --on-active`) or another that `switch` names. A reboot ends a pause and a delay; a service
  that was stopped starts if its unit is enabled, a process that was killed as its supervisor says.

Without such a switch these four are refused, unless `unguarded = true` accepts that only ours undo them. A timer of
systemd's does not outlive a reboot: run `python -m runners.fault.undo STATE_FOLDER` at boot if the agent may not come
up. A process that was killed and has no `start` cannot be undone by anybody but its supervisor. A person undoes
everything at once with the same command on the node, and ends a fault that is in force with `taskerman cancel TASK`.

**What counts as well.** The undo is verified (the service runs, the process goes on, nobody holds the file, the rules
are gone), the node's checks pass, and no more peers are unwell than the task explains; three times in a row. Until
then it waits, and then the node is unsafe.

**When nobody knows.** A fault that lasted its time has happened; one that was not begun has not. One that was cut
short is undone and called unknown: nobody repeats harm without a person.
"""
