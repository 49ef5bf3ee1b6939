"""What production did: predictions counted."""
