"""Maintains Elasticsearch and OpenSearch clusters: restarts, upgrades, snapshots and rollovers.

It was written against the documented answers of the HTTP API, in many states; no real cluster was asked.

## The node's configuration

```toml
actions = ["elasticsearch_task:*"]

[runners.elasticsearch_task]
url = "https://127.0.0.1:9200"
peers = ["https://10.0.0.8:9200", "https://10.0.0.9:9200"]    # who is asked while the own server is down
ca_file = "/etc/elasticsearch/certs/ca.crt"
username = "taskerman"
password = "..."                                              # keep the file readable by the agent's user alone
expected_nodes = 3                                            # how many nodes the cluster has
restart = ["systemctl", "restart", "elasticsearch"]
```

The user needs the cluster rights `monitor` and `manage`, and for snapshots `create_snapshot`.

## Restarting

*pre_check* lets the action begin only when

- no primary is missing (`red`), nothing is being moved or built, nothing waits to be assigned that a node took away,
  and no tasks are piled up at the master: `green`, or a `yellow` that has settled;
- no more nodes are missing than the task itself may have taken down; the rest of the voting nodes is a majority
  without this one;
- no shard has its only started copy here;
- the allocation of shards is on: who turned it off, works on the cluster; no snapshot is being made;
- the elected master goes last: it waits until every other node was started since the task was accepted, or for
  `master_patience_s`.

The *action* turns the allocation of replicas off, flushes, has the service manager restart the server, waits until a
peer counts it, and turns the allocation on again: also when it fails, is stopped, or was killed (then `abort`,
`recover` or, when the node is gone, another node does it: the task's bracket).

*post_check* asks a peer: the node runs as a new start, the cluster is green, or yellow with no more shards to assign
than before, with the allocation on, several times in a row.

## Upgrading a node

`upgrade` does the same around `stop`, `upgrade` and `start`, and believes the version that a peer sees. It is skipped
where the node has the version, refused for a step back and for more than one major version at once. Nodes that may
become master go after those that may not.

## Snapshots and rollover

`snapshot` makes one for a task, whichever node comes first; the others skip. One that is not whole is a failure and
stays for a person to look at. `rollover` acts when one of its conditions is met, and that only once.

## When nobody knows

The start time of the server is noted before it is restarted: another one means that it happened. A snapshot has the
task's name; a rollover is seen by the alias.
"""
