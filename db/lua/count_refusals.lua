-- Counts refused calls, and gives back what most of such a call has cost.
-- KEYS: refusals, calls of the SAE or ''
-- ARGV: number of distinct kinds that are kept apart, what to count the others as, tokens to give back, size of the
--       bucket, then a kind and how many calls for each
if KEYS[2] ~= '' and redis.call('EXISTS', KEYS[2]) == 1 then
    local tokens = tonumber(redis.call('HGET', KEYS[2], 'tokens')) + tonumber(ARGV[3])
    redis.call('HSET', KEYS[2], 'tokens', string.format('%.6f', math.min(tonumber(ARGV[4]), tokens)))
end
for i = 5, #ARGV, 2 do
    local kind = ARGV[i]
    if redis.call('HEXISTS', KEYS[1], kind) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[1]) then
        kind = ARGV[2]
    end
    redis.call('HINCRBY', KEYS[1], kind, ARGV[i + 1])
end
