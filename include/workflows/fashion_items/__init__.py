"""Which photographs show a shirt?"""
