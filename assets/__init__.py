"""Assets, asset checks and jobs."""
