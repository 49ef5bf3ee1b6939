"""Tell people of incidents, each once: what is due, what it says, and the channels that carry it."""
