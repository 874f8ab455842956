"""The tables of the outbox, in SQLAlchemy Core, for every database in which it may be stored.

Times are integers, milliseconds since 1970 UTC. Text from outside is text. A hook's bytes are a compressed BLOB in a
table of their own, so that lists stay quick. A new SQLite file is made from these tables, by `migrations.create`.

Conditions of indexes are written for SQLite only. PostgreSQL's indexes are made by the migrations, and a word about
them here would load SQLAlchemy's dialect of it, which takes 3 MiB.
"""

import sqlalchemy as sa

from relay.outbox.user_tables import people_tables

SCHEMA_VERSION = "0009"
"""The newest revision in migrations/versions (a test compares them)."""

metadata = sa.MetaData()

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite numbers rows by itself only in a column of exactly this type, which has 64 bits there."""

chats = sa.Table(
    "chats",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("chat", sa.Text, nullable=False),
    sa.Column("first_seen", sa.BigInteger, nullable=False),
    sa.Column("last_seen", sa.BigInteger, nullable=False),
    sa.Column("visitor", sa.Text, nullable=False),
    sa.Column("began", sa.BigInteger),
    sa.Column("missed", sa.Boolean),
    sa.Column("offline", sa.Boolean),
    sa.Column("rating", sa.Float),
    sa.UniqueConstraint("account", "chat", name="chats_once"),
)

hooks = sa.Table(
    "hooks",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("chat_id", sa.ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    # SHA-256 of its bytes.
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("rules_hash", sa.Text, nullable=False),
    sa.Column("trouble", sa.Text, nullable=False),
    # Keys of the visitor's email address and id, see `keys_of`; 0: none; null: not computed yet.
    sa.Column("email_key", sa.BigInteger),
    sa.Column("visitor_key", sa.BigInteger),
    sa.UniqueConstraint("chat_id", "body_hash", name="hooks_once"),
)
HAS_EMAIL_KEY, HAS_VISITOR_KEY = "email_key <> 0", "visitor_key <> 0"
HAS_NO_KEYS = "email_key IS NULL"
for _name, _column, _condition in (
    ("hooks_of_email", hooks.c.email_key, HAS_EMAIL_KEY),
    ("hooks_of_visitor", hooks.c.visitor_key, HAS_VISITOR_KEY),
    ("hooks_without_keys", hooks.c.id, HAS_NO_KEYS),
):
    sa.Index(_name, _column, sqlite_where=sa.text(_condition))

hook_bodies = sa.Table(
    "hook_bodies",
    metadata,
    sa.Column(
        "hook_id",
        sa.ForeignKey("hooks.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("body", sa.LargeBinary, nullable=False),
    # The rules' results. They quote the visitor, so they are erased with the body.
    sa.Column("verdicts", sa.LargeBinary, nullable=False),
)

# Digests that were closed. One that still collects has no row: its deliveries are scheduled for a digest.
digests = sa.Table(
    "digests",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    # When the first of its deliveries was due.
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("closed_at", sa.BigInteger, nullable=False),
    # The delivery that sends it. No foreign key: deliveries refer to digests.
    sa.Column("delivery_id", sa.BigInteger),
    # Its chats counted by the reason for which they waited, as JSON.
    sa.Column("counts", sa.Text, nullable=False),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("chat_id", sa.ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    sa.Column("hook_id", sa.ForeignKey("hooks.id", ondelete="CASCADE"), nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    # Sent again by hand: the next generation, with a Message-ID of its own.
    sa.Column("generation", sa.Integer, nullable=False, server_default=sa.text("1")),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("lease_until", sa.BigInteger),
    sa.Column("settled_at", sa.BigInteger),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("unsure", sa.Integer, nullable=False),
    sa.Column("suspect", sa.Boolean, nullable=False),
    sa.Column("lost", sa.Integer, nullable=False),
    sa.Column("short", sa.Boolean, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("receipt", sa.Text, nullable=False),
    # The destination that failed, where this goes to its fallback.
    sa.Column("instead_of", sa.Text, nullable=False, server_default=""),
    # When a scheduled delivery was queued.
    sa.Column("released_at", sa.BigInteger),
    # Why it is or was scheduled, or was left out: hours, send, limit, muted:3, skip, once per visitor.
    sa.Column("why", sa.Text, nullable=False, server_default=""),
    # It waits for a digest, not for a message of its own.
    sa.Column("in_digest", sa.Boolean, nullable=False, server_default=sa.false()),
    # The digest that it was sent in.
    sa.Column("digest_id", sa.ForeignKey("digests.id", ondelete="SET NULL")),
    # Of an escalation; 0 for what the rule itself sends.
    sa.Column("step", sa.Integer, nullable=False, server_default=sa.text("0")),
    # For limits per visitor: a key of the email address or id, or empty.
    sa.Column("visitor", sa.Text, nullable=False, server_default=""),
    # It mentions nobody in a room, as another delivery released with it does.
    sa.Column("quiet", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint(
        "chat_id", "rule", "destination", "recipient", "step", name="deliveries_once"
    ),
)
# Indexes of live rows only, so that a long history does not slow claims.
_QUEUED = sa.text("state = 'queued'")
_SENDING = sa.text("state = 'sending'")
TROUBLED = "state IN ('failed', 'quarantined', 'maybe delivered')"
sa.Index(
    "deliveries_queued",
    deliveries.c.destination,
    deliveries.c.suspect,
    deliveries.c.due_at,
    deliveries.c.id,
    sqlite_where=_QUEUED,
)
sa.Index(
    "deliveries_sending",
    deliveries.c.lease_until,
    sqlite_where=_SENDING,
)
sa.Index(
    "deliveries_troubled",
    deliveries.c.state,
    deliveries.c.settled_at,
    sqlite_where=sa.text(TROUBLED),
)
sa.Index("deliveries_of_hook", deliveries.c.hook_id)
SCHEDULED = "state = 'scheduled'"
FOR_DIGEST = "state = 'scheduled' AND in_digest"
OF_DIGEST = "digest_id IS NOT NULL"
for _name, _columns, _condition in (
    ("deliveries_scheduled", ("due_at", "id"), SCHEDULED),
    ("deliveries_for_digest", ("destination", "recipient", "due_at"), FOR_DIGEST),
    ("deliveries_of_digest", ("digest_id",), OF_DIGEST),
):
    sa.Index(
        _name,
        *(deliveries.c[column] for column in _columns),
        sqlite_where=sa.text(_condition),
    )

# Counts for a destination and a recipient, see `relay.outbox.limit_counts`: how many notifications a destination
# with a limit had since its window began, and the like. A change needs the row's lock.
limits = sa.Table(
    "limits",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("recipient", sa.Text, primary_key=True),
    # Which count: for a limit the seconds of its window, and the visitor where it is per visitor.
    sa.Column("of", sa.Text, primary_key=True),
    sa.Column("window_from", sa.BigInteger, nullable=False),
    sa.Column("used", sa.Integer, nullable=False),
)

# Mutes. Those that have ended stay.
mutes = sa.Table(
    "mutes",
    metadata,
    sa.Column("id", Id, primary_key=True),
    # file, command or console.
    sa.Column("origin", sa.Text, nullable=False),
    # Identifies an entry of the rules file.
    sa.Column("key", sa.Text, nullable=False),
    # The rule, destination or condition, as JSON.
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("from_at", sa.BigInteger, nullable=False),
    sa.Column("until_at", sa.BigInteger, nullable=False),
    sa.Column("because", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("via", sa.Text, nullable=False),
    # digest or nothing.
    sa.Column("then", sa.Text, nullable=False),
    sa.Column("urgent_too", sa.Boolean, nullable=False),
    sa.Column("alerts_too", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("ended_by", sa.Text, nullable=False),
    sa.Column("reminded_at", sa.BigInteger),
    # How many deliveries it has held or left out.
    sa.Column("matched", sa.Integer, nullable=False),
    sa.UniqueConstraint("origin", "key", name="mutes_once"),
)

# A chat and a rule that somebody has to take care of. Not used yet.
cases = sa.Table(
    "cases",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("chat_id", sa.ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("began_at", sa.BigInteger),
    sa.Column("steps", sa.Text, nullable=False),
    sa.Column("within", sa.Text, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("step_due_at", sa.BigInteger),
    sa.Column("snoozed_until", sa.BigInteger),
    sa.Column("taken_by", sa.Text, nullable=False),
    sa.Column("taken_via", sa.Text, nullable=False),
    sa.Column("taken_at", sa.BigInteger),
    sa.Column("done_at", sa.BigInteger),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("rules_hash", sa.Text, nullable=False),
    sa.UniqueConstraint("chat_id", "rule", name="cases_once"),
)
CASE_DUE = "step_due_at IS NOT NULL"
sa.Index(
    "cases_due",
    cases.c.step_due_at,
    cases.c.id,
    sqlite_where=sa.text(CASE_DUE),
)

# What happened to a case; rows are only added. Not used yet.
case_events = sa.Table(
    "case_events",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("case_id", sa.ForeignKey("cases.id", ondelete="CASCADE"), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("via", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
sa.Index("case_events_of_case", case_events.c.case_id)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("delivery_id", sa.ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("ending", sa.Text),
    sa.Column("detail", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

gates = sa.Table(
    "gates",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("closed_until", sa.BigInteger, nullable=False),
    sa.Column("broken_since", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False),
    # A pause by a person: who, until when, and why.
    sa.Column("paused_by", sa.Text, nullable=False, server_default=""),
    sa.Column("paused_until", sa.BigInteger),
    sa.Column("because", sa.Text, nullable=False, server_default=""),
)

paces = sa.Table(
    "paces",
    metadata,
    # The name of the pace: destinations that lead to the same place share one. Or "hour: " and a destination's name.
    sa.Column("destination", sa.Text, primary_key=True),
    # When the last messages began, as JSON, by the server's clock, for all relays together. For
    # an hour (see `Hourly`) the limit, and how many began in each minute.
    sa.Column("started", sa.Text, nullable=False),
)

# Present problems of the relay itself, and who got an alert.
troubles = sa.Table(
    "troubles",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("since", sa.BigInteger, nullable=False),
    # When it was no longer seen; it is over unless it returns soon.
    sa.Column("gone_at", sa.BigInteger),
    sa.Column("waiting", sa.Integer, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    # Destinations that got the alert, as JSON.
    sa.Column("told", sa.Text, nullable=False),
)

# Times to be remembered over a restart.
marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)

# Relays that share the database: the last commit of each, in case its answer is lost.
relays = sa.Table(
    "relays",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("last_commit", sa.BigInteger, nullable=False),
    sa.Column("wrote_at", sa.BigInteger, nullable=False),
)

set_aside = sa.Table(
    "set_aside",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("body_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

users, sessions, tokens, acts, rules_versions, drafts, idempotency_keys = people_tables(
    metadata, Id
)
