-- Two clocks of a site, in milliseconds, for durations (docs/protocols.md, "Durations"). Redis' own time may be stepped by
-- an administrator, and stands still for nobody who is not running. `fast` never runs slow: it follows every step forward.
-- `slow` never runs fast: of a step forward it takes 10 s at most. Neither ever goes back.
-- Put before the scripts that need the time; `given` is a test's time, or empty.
local function site_clocks(name, given)
    local seen = given
    if given == '' then
        local time = redis.call('TIME')
        seen = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    seen = tonumber(seen)
    local last, fast, slow = unpack(redis.call('HMGET', name, 'seen', 'fast', 'slow'))
    if not last then
        fast, slow = seen, seen
    else
        local passed = math.max(0, seen - tonumber(last))
        fast, slow = tonumber(fast) + passed, tonumber(slow) + math.min(passed, 10000)
    end
    redis.call('HSET', name, 'seen', seen, 'fast', string.format('%d', fast), 'slow', string.format('%d', slow))
    return fast, slow
end
