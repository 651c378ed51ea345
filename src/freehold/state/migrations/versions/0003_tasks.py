"""Kinds of work, learned rules, names that tasks had, and moves that the ledger has yet to follow."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("tasks") as tasks:
        tasks.add_column(sa.Column("work", sa.String(length=32), nullable=True))
        tasks.add_column(sa.Column("work_confidence", sa.Float(), nullable=True))
        tasks.add_column(sa.Column("work_source", sa.String(length=16), nullable=True))
    op.create_table(
        "task_rules",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_rules")),
    )
    op.create_index(op.f("ix_task_rules_task"), "task_rules", ["task"], unique=False)
    op.create_table(
        "task_names",
        sa.Column("old", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("since", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("old", name=op.f("pk_task_names")),
    )
    op.create_index(op.f("ix_task_names_name"), "task_names", ["name"], unique=False)
    op.create_table(
        "task_moves",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_moves")),
    )


def downgrade() -> None:
    op.drop_table("task_moves")
    op.drop_index(op.f("ix_task_names_name"), table_name="task_names")
    op.drop_table("task_names")
    op.drop_index(op.f("ix_task_rules_task"), table_name="task_rules")
    op.drop_table("task_rules")
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("work_source")
        tasks.drop_column("work_confidence")
        tasks.drop_column("work")
