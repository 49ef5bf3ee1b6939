-- One row is one scheduled departure, as its latest report tells it. The weather is what was observed at the origin at
-- least an hour before the scheduled departure: later observations would not be there when a prediction is asked for.
SELECT
    f.flight_id,
    f.sched_dep_utc,
    f.recorded_at,
    f.carrier,
    f.flight,
    f.tailnum,
    f.origin,
    f.dest,
    f.distance,
    f.sched_hour,      -- local time at the origin
    f.sched_minute,
    f.dep_time,
    f.dep_delay,
    f.dep_delay > 15 AS is_late,  -- NULL for a cancelled flight
    w.temp,
    w.dewp,
    w.humid,
    w.wind_dir,
    w.wind_speed,
    w.wind_gust,
    w.precip,
    w.pressure,
    w.visib,
    p.built AS plane_built,
    p.engines AS plane_engines,
    p.seats AS plane_seats,
    a.lat AS dest_lat,
    a.lon AS dest_lon,
    a.alt AS dest_alt
FROM nyc.flights AS f
LEFT JOIN nyc.planes AS p ON p.tailnum = f.tailnum
LEFT JOIN nyc.airports AS a ON a.faa = f.dest
LEFT JOIN LATERAL (
    SELECT *
    FROM nyc.weather AS o
    WHERE o.origin = f.origin
      AND o.observed_at <= f.sched_dep_utc - INTERVAL '1 hour'
      AND o.observed_at > f.sched_dep_utc - INTERVAL '4 hours'
    ORDER BY o.observed_at DESC
    LIMIT 1
) AS w ON true
WHERE f.sched_dep_utc >= :partition_start
  AND f.sched_dep_utc < :partition_end
ORDER BY f.sched_dep_utc, f.flight_id
