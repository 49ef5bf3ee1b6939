"""A web page for people who ask a model without writing code: `make app NAME=flight_delays`."""
