"""What a client of each dialect sees, whatever the model server behind the gateway."""
