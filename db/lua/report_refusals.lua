-- Moves the counts of refused calls to the audit trail when their window is over: an entry for each kind.
-- KEYS: refusals, audit
-- ARGV: time of a test or '', length of a window in milliseconds
-- Returns the number of entries.
local now = site_clocks(ARGV[1])
local ends = tonumber(redis.call('HGET', 'clock', 'refusal_window_ends') or 0)
if now < ends then
    return 0
end
redis.call('HSET', 'clock', 'refusal_window_ends', string.format('%d', now + tonumber(ARGV[2])))
local counts = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[1])
for i = 1, #counts, 2 do
    redis.call('XADD', KEYS[2], '*', 'event', 'calls_refused', 'kind', counts[i], 'call_count', counts[i + 1])
end
return #counts / 2
