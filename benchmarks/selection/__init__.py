"""Model selection beside its peers, on 16 tables, at an equal budget of CPU time."""
