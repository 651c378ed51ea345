"""Tables of the state database. SQLite by default, PostgreSQL by a URL; Alembic migrates both.

Moments are stored as ISO 8601 text in UTC, so that both databases sort and return them alike.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, text

REVISION = "0004"
"""The newest migration: a database that is there needs none."""
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TASKS = Table(
    "tasks",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("labels", JSON, nullable=False),
    Column("json_schema", JSON),
    Column("own_prompt", Text, nullable=False),
    Column("work", String(32), doc="What kind of work it is; NULL: as `kind` has it."),
    Column("work_confidence", Float, doc="Of the guess, 0 to 1; NULL: it was set, or nothing speaks for it."),
    Column("work_source", String(16), doc="guessed or set; NULL: nobody has looked."),
    Column("origin", String(16), doc="discovered: discovery made and named it, and nobody has changed it; else NULL."),
)

TASK_RULES = Table(
    "task_rules",
    METADATA,
    Column("id", String(64), primary_key=True, doc="SHA-256 of kind and body."),
    Column("task", String(200), nullable=False, index=True),
    Column("kind", String(16), nullable=False, doc="system, asked or words"),
    Column("body", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
)

TASK_NAMES = Table(
    "task_names",
    METADATA,
    Column("old", String(200), primary_key=True, doc="A name that calls may still come with."),
    Column("name", String(200), nullable=False, index=True, doc="The task that is meant."),
    Column("since", String(40), nullable=False),
)

TASK_MOVES = Table(
    "task_moves",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("body", JSON, nullable=False, doc="What the ledger has yet to follow: names, or a file of calls."),
    Column("created_at", String(40), nullable=False),
)

CORRECTIONS = Table(
    "corrections",
    METADATA,
    Column("id", String(64), primary_key=True, doc="SHA-256 of what it says: the same one twice is one row."),
    Column("call_id", String(64), nullable=False, index=True),
    Column("task", String(200), nullable=False, index=True),
    Column("kind", String(16), nullable=False, doc="corrected, accepted or labelled"),
    Column("output", Text, nullable=False, doc="What the human says the answer is."),
    Column("reviewer", String(200)),
    Column("reviewed_at", String(40)),
    Column("split", String(16), doc="'test' when the row was imported as a test row, else NULL."),
)

SPLITS = Table(
    "splits",
    METADATA,
    Column("task", String(200), primary_key=True),
    Column("fingerprint", String(64), primary_key=True, doc="Of the masked input text."),
    Column("split", String(16), nullable=False, doc="Side on which it stays for ever."),
)

DATASETS = Table(
    "datasets",
    METADATA,
    Column("id", String(240), primary_key=True),
    Column("task", String(200), nullable=False, index=True),
    Column("sha256", String(64), nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
)

MODELS = Table(
    "models",
    METADATA,
    Column("id", String(240), primary_key=True),
    Column("task", String(200), nullable=False, index=True),
    Column("base", String(200), nullable=False),
    Column("dataset_id", String(240), ForeignKey("datasets.id")),
    Column("sha256", String(64), nullable=False, doc="Of the adapter's weights."),
    Column("recipe", JSON, nullable=False),
    Column("run", JSON, nullable=False, doc="examples, seconds, cpu_seconds, final_loss"),
    Column("created_at", String(40), nullable=False),
)

ALIASES = Table(
    "aliases",
    METADATA,
    Column("task", String(200), primary_key=True),
    Column("alias", String(32), primary_key=True),
    Column("model_id", String(240), ForeignKey("models.id"), nullable=False),
)

ARTEFACTS = Table(
    "artefacts",
    METADATA,
    Column("model_id", String(240), ForeignKey("models.id"), primary_key=True),
    Column("form", String(16), primary_key=True, doc="adapter, merged, gguf or adapter-gguf"),
    Column("kind", String(8), primary_key=True, doc="How its numbers are stored, such as q8_0."),
    Column("folder", Text, nullable=False),
    Column("record", JSON, nullable=False, doc="Its manifest: hashes of its files, and what was measured of it."),
    Column("created_at", String(40), nullable=False),
)

EVALUATIONS = Table(
    "evaluations",
    METADATA,
    Column("id", String(240), primary_key=True),
    Column("task", String(200), nullable=False, index=True),
    Column("model_id", String(240)),
    Column("dataset_id", String(240), nullable=False),
    Column("record", JSON, nullable=False),
    Column("created_at", String(40), nullable=False),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", String(240), primary_key=True),
    Column("task", String(200), nullable=False, index=True),
    Column("verdict", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("signature", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
)

AUDIT_TRAIL = Table(
    "audit_trail",
    METADATA,
    Column("sequence", Integer, primary_key=True),
    Column("at", String(40), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(240), nullable=False),
    Column("details", JSON, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)

KEYS = Table(
    "keys",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("task", String(200), doc="Of calls that name none; NULL: the rules decide."),
    Column("tasks", JSON, nullable=False, doc="Globs of tasks it may be used for; empty: all."),
    Column("models", JSON, nullable=False, doc="Globs of models it may ask for; empty: all."),
    Column("created_at", String(40), nullable=False),
    Column("expires_at", String(40)),
    Column("revoked_at", String(40)),
)
# A name is free again once its key is revoked.
Index(
    "uq_keys_name_in_use",
    KEYS.c.name,
    unique=True,
    sqlite_where=text("revoked_at IS NULL"),
    postgresql_where=text("revoked_at IS NULL"),
)

KEY_SECRETS = Table(
    "key_secrets",
    METADATA,
    Column("sha256", String(64), primary_key=True, doc="Of the secret, which is stored nowhere."),
    Column("key_id", String(40), ForeignKey("keys.id"), nullable=False, index=True),
    Column("prefix", String(16), nullable=False, doc="How the secret begins, for people to know it by."),
    Column("created_at", String(40), nullable=False),
    Column("expires_at", String(40), doc="Set when another one took its place."),
)

KEY_LIMITS = Table(
    "key_limits",
    METADATA,
    Column("key_id", String(40), ForeignKey("keys.id"), primary_key=True),
    Column("measure", String(16), primary_key=True, doc="requests, tokens or usd"),
    Column("period", String(16), primary_key=True, doc="minute, day or month, of the calendar in UTC"),
    Column("amount", BigInteger, nullable=False, doc="Billionths of a US dollar where the measure is usd."),
)

SPENDING = Table(
    "spending",
    METADATA,
    Column("key_id", String(40), primary_key=True),
    Column("measure", String(16), primary_key=True),
    Column("period", String(16), primary_key=True),
    Column("starts_at", String(40), primary_key=True),
    Column("spent", BigInteger, nullable=False, doc="As far as the workers have told."),
    Column("leased", BigInteger, nullable=False, doc="What the workers hold and have not spent: sum of the leases."),
)

LEASES = Table(
    "leases",
    METADATA,
    Column("key_id", String(40), primary_key=True),
    Column("measure", String(16), primary_key=True),
    Column("period", String(16), primary_key=True),
    Column("starts_at", String(40), primary_key=True),
    Column("holder", String(40), primary_key=True, index=True, doc="Name of the slice that is leased."),
    Column("spent", BigInteger, nullable=False, doc="From this slice, all told: twice told counts once."),
    Column("leased", BigInteger, nullable=False),
    Column("expires_at", Float, nullable=False, doc="Seconds since 1970; then what is leased is free again."),
)
