"""Sample data that ships with Freehold, written by us; each folder says how it was made."""
