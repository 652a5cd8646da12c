"""Listeners: logs and metrics of events. Nothing here changes what happens."""
