"""`service_task`: restart, reload or stop and start any service of a machine, behind a health check.

For what has no runner of its own: a web server, a proxy, an exporter, a worker. What it knows of the service stands in
the node's configuration; a task names the service, never a command:

```toml
[runners.service_task.services.web]
unit = "web.service"                        # all commands are systemctl's, unless others are given
drain = ["/usr/local/bin/lb", "out"]        # optional: before it goes down, and undone after
undrain = ["/usr/local/bin/lb", "in"]
checks = [
  {http = "http://127.0.0.1:8080/health", body = "ok"},
  {tcp = "127.0.0.1:9090"},
  {command = ["/usr/local/bin/web-selftest"]},
]

[runners.service_task.services.web.peers]   # by node id; one file may serve all nodes
i-0aaa = {http = "http://10.0.0.1:8080/health", about = "/peers/{node}", about_body = "up"}
i-0bbb = {http = "http://10.0.0.2:8080/health", about = "/peers/{node}", about_body = "up"}
```

**When it does not act.** It refuses a service that the node does not know, or that systemd does not; a command whose
program is missing; a task on several nodes where the node names no peers. It waits while more of the others are unwell
than the same task may have taken down (its concurrency less one); with `at_least`, while so many would not stay well
even if everybody whom the task may act on went down in this moment. A node that the task was planned for and that is
not among the peers counts as unwell: nobody knows. A reload also waits for the service itself to be well.

**What counts as well.** Its checks pass, its main process is another one than before (after a reload: the same one), it
is not out of the load balancer, no more peers are unwell than before it began may have been, and each peer that
answers says of this node what it should (`about`). All of that three times in a row.

**Drained is never forgotten.** Before `drain` a note is written to `state_folder`; `undrain` removes it. The action
undrains when the service is well again, and so does whoever comes after a crash. A service that does not come back
stays out (no client should meet it), unless `undrain_unwell` says that the load balancer looks for itself. While the
note is there the node is not called well: its attempt ends unsafe, with the command that puts it back in the reason,
and the next attempt takes it up.

**When nobody knows.** Which start of the service runs is noted before it is restarted (`systemctl show`: main process,
its start, the invocation). After a crash another one means that it happened; the same one, after the service manager
was asked, that nobody knows. A reload leaves no trace, unless `reload_mark` names a command that tells. A `stop_start`
that was cut short is started again, but not in the middle of its `between`: what was half done there is a person's.
"""
