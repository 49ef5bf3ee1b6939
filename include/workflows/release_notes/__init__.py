"""Which entries of release notes are bug fixes?"""
