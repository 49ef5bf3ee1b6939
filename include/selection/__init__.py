"""
Choose a model for rows in memory: preparation, families, search, ensemble. Knows no workflow, no lake,
no registry.
"""
