"""HTTP/1.1 on both sides: connections of clients, connections to providers, and the one way out."""
