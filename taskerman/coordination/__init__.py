"""The protocol on the shared tree: every transaction by which agents, router and people change the present."""
