"""The work itself, layer by layer; it never imports Airflow. See docs/architecture.md."""
