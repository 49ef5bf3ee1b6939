-- Fills the schema nyc_loading from the raw tables csv_*; `%(shift)s` is the calendar's shift in days.
CREATE TABLE nyc_loading.airlines AS SELECT carrier, name FROM csv_airlines;
ALTER TABLE nyc_loading.airlines ADD PRIMARY KEY (carrier);

CREATE TABLE nyc_loading.airports AS
SELECT faa, name, lat::float8, lon::float8, alt::int, tz::int, dst, tzone FROM csv_airports;
ALTER TABLE nyc_loading.airports ADD PRIMARY KEY (faa);

-- A plane moves with the calendar, so that its age stays what it was.
CREATE TABLE nyc_loading.planes AS
SELECT tailnum, year::int + round(%(shift)s / 365.25)::int AS built, type, manufacturer, model, engines::int, seats::int, speed::int, engine
FROM csv_planes;
ALTER TABLE nyc_loading.planes ADD PRIMARY KEY (tailnum);

CREATE TABLE nyc_loading.weather AS
SELECT origin, time_hour::timestamptz + %(shift)s * INTERVAL '24 hours' AS observed_at, temp::float8, dewp::float8, humid::float8,
       wind_dir::int, wind_speed::float8, wind_gust::float8, precip::float8, pressure::float8, visib::float8
FROM csv_weather;
ALTER TABLE nyc_loading.weather ADD PRIMARY KEY (origin, observed_at);

-- A departure is reported a few minutes after it happened, a cancellation three hours after the scheduled time. The books of a
-- UTC day are closed at its end: what is still open then is reported in its last second.
CREATE TEMPORARY TABLE departures ON COMMIT DROP AS
SELECT *, LEAST(reported_at, date_trunc('day', sched_dep_utc) + INTERVAL '23:59:59') AS recorded_at
FROM (
    SELECT concat(flight_date, '-', carrier, flight, '-', origin) AS flight_id, *,
           sched_dep_utc + make_interval(mins => CASE WHEN dep_delay IS NULL THEN 180 ELSE GREATEST(dep_delay, 0) + 5 END) AS reported_at
    FROM (
        SELECT make_date(year::int, month::int, day::int) + %(shift)s AS flight_date,
               time_hour::timestamptz + make_interval(mins => minute::int) + %(shift)s * INTERVAL '24 hours' AS sched_dep_utc,
               carrier, flight::int, tailnum, origin, dest, distance::int, hour::int AS sched_hour, minute::int AS sched_minute,
               dep_time::int, dep_delay::int
        FROM csv_flights
    ) AS typed
) AS reported;

-- About one report in a hundred comes without the plane's registration, and is corrected two days later. Which ones hangs on
-- the flight alone, so that every load gives the same.
CREATE TABLE nyc_loading.flight_reports AS
SELECT flight_id, recorded_at, flight_date, sched_dep_utc, carrier, flight, CASE WHEN NOT is_corrected THEN tailnum END AS tailnum,
       origin, dest, distance, sched_hour, sched_minute, dep_time, dep_delay
FROM (SELECT *, tailnum IS NOT NULL AND left(md5(flight_id), 4) < '028f' AS is_corrected FROM departures) AS first_reports
UNION ALL
SELECT flight_id, recorded_at + INTERVAL '48 hours', flight_date, sched_dep_utc, carrier, flight, tailnum,
       origin, dest, distance, sched_hour, sched_minute, dep_time, dep_delay
FROM departures
WHERE tailnum IS NOT NULL AND left(md5(flight_id), 4) < '028f'
ORDER BY sched_dep_utc;
ALTER TABLE nyc_loading.flight_reports ADD PRIMARY KEY (flight_id, recorded_at);
CREATE INDEX ON nyc_loading.flight_reports (sched_dep_utc);

-- Each flight as its latest report tells it, as of now: rows appear, and are corrected, as their time comes.
CREATE VIEW nyc_loading.flights AS
SELECT report.*
FROM nyc_loading.flight_reports AS report
WHERE report.recorded_at <= now()
  AND NOT EXISTS (
      SELECT 1 FROM nyc_loading.flight_reports AS later
      WHERE later.flight_id = report.flight_id AND later.recorded_at > report.recorded_at AND later.recorded_at <= now()
  );

-- The timetable ahead: of a flight that has not left yet nobody knows how late it will be.
CREATE VIEW nyc_loading.scheduled_flights AS
SELECT DISTINCT ON (sched_dep_utc, flight_id) flight_id, now() AS recorded_at, flight_date, sched_dep_utc, carrier, flight, tailnum,
       origin, dest, distance, sched_hour, sched_minute, NULL::int AS dep_time, NULL::int AS dep_delay
FROM nyc_loading.flight_reports
WHERE sched_dep_utc > now()
ORDER BY sched_dep_utc, flight_id, recorded_at DESC;
