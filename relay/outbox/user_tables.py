"""The tables of the console's users, sessions, tokens and audit log, and of the rules' versions and drafts.

Visitors' words are never stored in them.
"""

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine


def people_tables(metadata: sa.MetaData, id_type: TypeEngine[int]) -> tuple[sa.Table, ...]:
    """The tables users, sessions, tokens, acts, rules_versions, drafts and idempotency_keys.

    `id_type`: the type of columns that number rows.
    """
    users = sa.Table(
        "users",
        metadata,
        sa.Column("id", id_type, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        # viewer, editor or admin.
        sa.Column("role", sa.Text, nullable=False),
        # A hash by argon2; empty for a user who signs in another way.
        sa.Column("password", sa.Text, nullable=False),
        # setting, command, console or proxy: how the user was created.
        sa.Column("origin", sa.Text, nullable=False),
        # Language, zone and the like, as JSON.
        sa.Column("choices", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.UniqueConstraint("name", name="users_once"),
    )
    sessions = sa.Table(
        "sessions",
        metadata,
        sa.Column("id", id_type, primary_key=True),
        # SHA-256 of what the cookie holds.
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("user_id", sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        # When the user last did something, to the minute.
        sa.Column("used_at", sa.BigInteger, nullable=False),
        # Of the browser, so that its user can recognize it.
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.UniqueConstraint("hash", name="sessions_once"),
    )
    tokens = sa.Table(
        "tokens",
        metadata,
        sa.Column("id", id_type, primary_key=True),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        # api, or link: a link that sets a password, once.
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("user_id", sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        # To the day.
        sa.Column("used_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.UniqueConstraint("hash", name="tokens_once"),
    )
    acts = sa.Table(
        "acts",
        metadata,
        sa.Column("id", id_type, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        # The name of a user or token: it outlives them.
        sa.Column("by", sa.Text, nullable=False),
        # console, api or command.
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        # Makes an act unique, so that a request sent twice acts once; null for most.
        sa.Column("key", sa.Text),
        sa.UniqueConstraint("key", name="acts_once"),
    )
    # Each text that the rules file had, whoever saved it, oldest first.
    rules_versions = sa.Table(
        "rules_versions",
        metadata,
        sa.Column("id", id_type, primary_key=True),
        # SHA-256 of its bytes, in hex. A text that was restored has several rows.
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("text", sa.LargeBinary, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        # The name of a user; empty where the file was saved by other means.
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        # Of the previous text; empty for the first.
        sa.Column("base_hash", sa.Text, nullable=False),
        # Why the text can't be used, as JSON; empty where it can.
        sa.Column("problems", sa.Text, nullable=False),
    )
    sa.Index("rules_versions_of_hash", rules_versions.c.hash)
    drafts = sa.Table(
        "drafts",
        metadata,
        sa.Column(
            "user_id",
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("base_hash", sa.Text, nullable=False),
        sa.Column("text", sa.LargeBinary, nullable=False),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    # Requests of programs that send or queue something.
    idempotency_keys = sa.Table(
        "idempotency_keys",
        metadata,
        # The number of a token or a user.
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        # SHA-256 of what was asked.
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        # Null: the answer is not known yet.
        sa.Column("status", sa.BigInteger),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    return users, sessions, tokens, acts, rules_versions, drafts, idempotency_keys
