"""The admin API, on a port and in a process of its own."""
