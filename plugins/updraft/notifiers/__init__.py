"""What is told to people, when a task or a run of a workflow ends."""
