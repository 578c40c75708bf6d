-- The two clocks of a site, in milliseconds, for durations (docs/protocols.md, "Durations"). Redis' own time may be stepped
-- by an administrator, and goes on while the site is down. `fast` never runs slow: it follows every step forward. `slow`
-- never runs fast: whatever passes between two looks, it takes 10 s of it at most. Neither goes back.
-- Put before the scripts that need the time. `given`: a test's time, or '' for Redis' own.
local function site_clocks(given)
    local seen = tonumber(given)
    if not seen then
        local time = redis.call('TIME')
        seen = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    local last, fast, slow = unpack(redis.call('HMGET', 'clock', 'seen', 'fast', 'slow'))
    if last then
        local passed = math.max(0, seen - tonumber(last))
        fast, slow = tonumber(fast) + passed, tonumber(slow) + math.min(passed, 10000)
    else
        fast, slow = seen, seen
    end
    redis.call('HSET', 'clock', 'seen', string.format('%d', seen), 'fast', string.format('%d', fast), 'slow',
        string.format('%d', slow))
    return fast, slow
end
