"""Renders templates in separate processes, because a template may loop, exhaust memory or crash.

    relay ── foreman ─┬─ worker       the relay never runs a user's template
                      └─ worker

The foreman imports what rendering needs and forks workers within milliseconds; it renders nothing
itself. A worker is connected to the relay by a socket pair and handles one request at a time,
within limits that the kernel enforces. `worker_pool` is the relay's side.
"""
