"""The daemon on a node: takes its node's tasks, waits its turn, runs the runner, records the outcome."""
