SELECT event_id, happened_at, recorded_at, kind, amount, is_late
FROM events
WHERE happened_at >= :partition_start AND happened_at < :partition_end
ORDER BY happened_at, event_id
