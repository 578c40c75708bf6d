-- Replaces records of a pool that are still there. They may have moved towards its beginning, as others were taken.
-- KEYS: pool, count of what was wrapped anew
-- ARGV: index to search from, index to search to, then a record before and from now on, for each
local wanted, count = {}, 0
for i = 3, #ARGV, 2 do
    wanted[ARGV[i]] = ARGV[i + 1]
end
for i, record in ipairs(redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])) do
    if wanted[record] then
        redis.call('LSET', KEYS[1], ARGV[1] + i - 1, wanted[record])
        count = count + 1
    end
end
return redis.call('INCRBY', KEYS[2], count)
