"""Who may use the gateway, for what, how much, and what of it is recorded."""
