"""Providers as the settings name them, which of them is asked, and how they are."""
