"""Which flights will depart more than 15 minutes late?"""
