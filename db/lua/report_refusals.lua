-- Moves the counts of refused calls to the audit trail when their window is over: an entry for each kind.
-- KEYS: refusals, clock, audit
-- ARGV: time of a test or '', length of a window in milliseconds
-- Returns the number of entries.
local _, now = site_clocks(KEYS[2], ARGV[1])
local ends = tonumber(redis.call('HGET', KEYS[2], 'refusal_window_ends') or 0)
if now < ends then
    return 0
end
redis.call('HSET', KEYS[2], 'refusal_window_ends', string.format('%d', now + tonumber(ARGV[2])))
local counts = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[1])
for i = 1, #counts, 2 do
    redis.call('XADD', KEYS[3], '*', 'event', 'calls_refused', 'kind', counts[i], 'call_count', counts[i + 1])
end
return #counts / 2
