"""Reading what containers printed, from files that virtlogd writes and rotates."""
