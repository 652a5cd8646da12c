"""Real stores of tests, as clusters on loopback, each member under a supervisor that plays systemd.

`member.py`: one server. `store.py`: what every cluster offers, so that one acceptance test and one benchmark serve all.
"""
