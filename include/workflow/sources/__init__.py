"""The kinds of source that a workflow may declare, a module each."""
