"""Templates are rendered in processes of their own, which may loop, eat memory or crash.

    relay ── foreman ─┬─ worker       the relay never runs a user's template
                      └─ worker

The foreman (`foreman`) imports what rendering needs, and forks: a fresh worker is there within milliseconds. It runs
no template itself. Each worker has a line (a socket pair) to the relay and does what is asked on it, one thing at a
time, under limits that the kernel keeps. `worker_pool` is the relay's side.
"""
