"""Will the air be unhealthy 24 hours after the last reading?"""
