"""How a running gateway is watched: metrics, the live page, spans, logs."""
