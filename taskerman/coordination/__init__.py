"""The protocol: how the shared state changes, written once, over any `Tree`.

Every move is one transaction that carries its own conditions. `layout` says where things are; `router_moves`,
`node_moves` and `operator_moves` are the moves of the three actors; `snapshot` reads what admission decides on.
It decides nothing that `policy` can decide, and knows nothing of queues, children or clocks.
"""
