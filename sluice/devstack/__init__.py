"""What the containers of `platform/devstack` need from us: secrets, and the broker's users."""
