"""The scheduler: finds a node for every Pod that has none. Start at `carob.scheduler.scheduler.Scheduler`.

`snapshot` (what is where) and `decision` (filter, score, choose) are pure; `loop` alone talks to the API.
"""
