"""Keys, their secrets and limits, and what they spend."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("task", sa.String(length=200), nullable=True),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.Column("expires_at", sa.String(length=40), nullable=True),
        sa.Column("revoked_at", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index(
        "uq_keys_name_in_use",
        "keys",
        ["name"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "key_secrets",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.Column("expires_at", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_key_secrets_key_id")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_key_secrets")),
    )
    op.create_index(op.f("ix_key_secrets_key_id"), "key_secrets", ["key_id"], unique=False)
    op.create_table(
        "key_limits",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("period", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_key_limits_key_id")),
        sa.PrimaryKeyConstraint("key_id", "measure", "period", name=op.f("pk_key_limits")),
    )
    op.create_table(
        "spending",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("period", sa.String(length=16), nullable=False),
        sa.Column("starts_at", sa.String(length=40), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("leased", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "measure", "period", "starts_at", name=op.f("pk_spending")),
    )
    op.create_table(
        "leases",
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("measure", sa.String(length=16), nullable=False),
        sa.Column("period", sa.String(length=16), nullable=False),
        sa.Column("starts_at", sa.String(length=40), nullable=False),
        sa.Column("holder", sa.String(length=40), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("leased", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "measure", "period", "starts_at", "holder", name=op.f("pk_leases")),
    )
    op.create_index(op.f("ix_leases_holder"), "leases", ["holder"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_leases_holder"), table_name="leases")
    op.drop_table("leases")
    op.drop_table("spending")
    op.drop_table("key_limits")
    op.drop_index(op.f("ix_key_secrets_key_id"), table_name="key_secrets")
    op.drop_table("key_secrets")
    op.drop_index("uq_keys_name_in_use", table_name="keys")
    op.drop_table("keys")
