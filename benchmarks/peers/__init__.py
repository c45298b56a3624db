"""Other gateways that ours is measured beside: how they are installed and run."""
