"""
Updraft's pages in the web UI: quarantined rows, the validations' pages, models and their cards. They read, and change
nothing.
"""
