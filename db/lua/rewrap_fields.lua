-- Replaces values of a hash that are still what they were: of a block, whose version stays, or of recipients' copies.
-- KEYS: hash, count of what was wrapped anew
-- ARGV: field, its value before, its value from now on, for each
local count = 0
for i = 1, #ARGV, 3 do
    if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
        count = count + 1
    end
end
return redis.call('INCRBY', KEYS[2], count)
