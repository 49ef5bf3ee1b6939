"""Tests of the lake, on a folder and on a real S3 server."""
