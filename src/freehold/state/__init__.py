"""The workspace on disk and its SQL database: settings, schema, migrations and the audit trail.

It knows no rules of the trade: other rooms read and write its tables.
"""
