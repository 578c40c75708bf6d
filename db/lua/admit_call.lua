-- Lets a call of an SAE pass, or says when the next may: a token bucket.
-- KEYS: calls of the SAE
-- ARGV: time of a test or '', tokens a second, size of the bucket
-- Returns 0 where it passes and has cost one token; else in how many milliseconds there is one, and nothing was spent.
local rate, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = site_clocks(ARGV[1])
local tokens, at = unpack(redis.call('HMGET', KEYS[1], 'tokens', 'at'))
tokens = math.min(burst, (tonumber(tokens) or burst) + (now - (tonumber(at) or now)) * rate / 1000)
local wait = 0
if tokens >= 1 then
    tokens = tokens - 1
else
    wait = math.ceil((1 - tokens) * 1000 / rate)
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', now))
return wait
