"""Everything at once, for as long as one likes: real parts, faults drawn at random, and a judge who believes nobody.

`python -m tests.chaos --seed 7 --minutes 10`, or `make chaos SEED=7 MINUTES=10`.
"""
