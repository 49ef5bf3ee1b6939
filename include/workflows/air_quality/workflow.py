"""The declaration of `air_quality`: hourly readings of Beijing's air over MQTT, a day at a time."""

from datetime import date

from include.workflow import (
    Deployment,
    Features,
    Gate,
    Lag,
    LocalEndpoint,
    Monitoring,
    Paired,
    Partition,
    Quality,
    Search,
    SensorSource,
    Target,
    Training,
    Workflow,
)

# What the station read so many hours before the hour that is forecast: 24 is the last reading that the forecast knows.
HOURS = {
    "pm25": (24, 27, 30, 33, 36, 39, 42, 45, 48),
    "dew_point": (24, 48),
    "temperature": (24, 48),
    "pressure": (24, 36, 48),
    "wind_direction": (24,),
    "wind_run": (24,),
}

workflow = Workflow(
    name="air_quality",
    description="Will the air be unhealthy (more than 75 µg/m³ of PM2.5) 24 hours after the last reading?",
    source=SensorSource(
        conn_id="air_quality_broker",
        topics=("stations/+/air",),
        fields={
            "station": "text",
            "number": "integer",
            "measured_at": "timestamp",
            "sent_at": "timestamp",
            "pm25": "number",
            "dew_point": "number",
            "temperature": "number",
            "pressure": "number",
            "wind_direction": "text",
            "wind_run": "number",
            "snow_hours": "number",
            "rain_hours": "number",
        },
        device="station",
        sequence="number",
        every="1 hour",
        event_time="measured_at",
        # Not our own clock's time of arrival: the demo plays a year's readings within seconds, and each was known in
        # its own hour.
        known_time="sent_at",
        key=("station", "measured_at"),
        lags={
            f"{field}_{hours}h": Lag(field=field, by=f"{hours} hours")
            for field, each in HOURS.items()
            for hours in each
        },
        # A reading is sent ten minutes after its hour: it has an hour to come.
        lead="23 hours",
        # A station that was cut off sends its memory once it is back; the demo's first day brings 47 weeks.
        lateness="52 weeks",
    ),
    partition=Partition(every="day", start=date(2025, 1, 1), delay="2 hours"),
    expectations="expectations.json",
    # The instrument for particles fails for up to 16 hours of a day (of 2013 and 2014), while the others go on.
    quality=Quality(max_quarantined=0.75),
    target=Target(column="pm25", task="classification", above=75),
    # What the row's own hour says is yet to come when it is forecast, so that no feature may read it, listed or not.
    features=Features(builder="features.build", exclude=("snow_hours", "rain_hours")),
    training=Training(
        every="week",
        window="12 weeks",
        test="4 weeks",
        validation="3 weeks",
        minimum_rows=1_500,
        search=Search(metric="roc_auc", budget_seconds=30, workers=2),
    ),
    # The last reading is a forecast by itself: whoever does not beat it does not ship.
    gate=Gate(
        minimum={"roc_auc": 0.6},
        naive="pm25_24h",
        against_champion=Paired(alpha=0.05, tolerance=0.005),
        minimum_rows=500,
        max_latency_ms=50,
        max_size_mb=200,
    ),
    deployment=Deployment(targets=(LocalEndpoint(),)),
    monitoring=Monitoring(every="day", label_delay="1 day"),
)
