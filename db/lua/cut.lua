-- Takes a range out of a block for good, and gives its bits to a pool, to the slave's store, or to nobody: one step.
-- KEYS: block, cuts of the block, account, audit, entitlement, destination, connections removed
-- ARGV: cut id, digest of the cut, block version it was computed from, rewrapped block, first bit, end bit,
--       use ('pool', 'slave' or 'burned'), connection id, then key id and wrapped key for each key
-- Returns 'done', or 'again' (this very cut took place before), or why nothing was changed: 'differs' (another cut under
-- this id), 'removed' (the connection is), 'gone' (no such block here), 'raced' (the block changed meanwhile: compute anew), 'overlap', 'known_key'.
local before = redis.call('HGET', KEYS[2], ARGV[1])
local first, last = tonumber(ARGV[5]), tonumber(ARGV[6])
if before then
    local mark = ARGV[5] .. ':' .. ARGV[6] .. ':' .. ARGV[2]
    return before == mark and 'again' or 'differs'
end
if ARGV[7] ~= 'burned' and redis.call('SISMEMBER', KEYS[7], ARGV[8]) == 1 then
    return 'removed'
end
local version = redis.call('HGET', KEYS[1], 'version')
if not version then
    return 'gone'
end
if version ~= ARGV[3] then
    return 'raced'
end
for _, mark in ipairs(redis.call('HVALS', KEYS[2])) do
    local from, to = string.match(mark, '^(%d+):(%d+):')
    if first < tonumber(to) and tonumber(from) < last then
        return 'overlap'
    end
end
for i = 9, #ARGV, 2 do
    if redis.call('HEXISTS', KEYS[5], ARGV[i]) == 1 then
        return 'known_key'
    end
end

local use, bits = ARGV[7], last - first
redis.call('HSET', KEYS[2], ARGV[1], ARGV[5] .. ':' .. ARGV[6] .. ':' .. ARGV[2])
redis.call('HSET', KEYS[1], 'bits', ARGV[4], 'version', version + 1)
redis.call('HINCRBY', KEYS[1], 'uncut_bits', -bits)
for i = 9, #ARGV, 2 do
    redis.call('HSET', KEYS[5], ARGV[i], ARGV[8])
    if use == 'pool' then
        redis.call('RPUSH', KEYS[6], ARGV[i] .. ARGV[i + 1])
    else
        redis.call('HSET', KEYS[6], ARGV[i], ARGV[i + 1])
    end
end
redis.call('HINCRBY', KEYS[3], 'remainder', -bits)
redis.call('HINCRBY', KEYS[3], use == 'burned' and 'burned' or 'stored', bits)
redis.call('XADD', KEYS[4], '*', 'event', use == 'burned' and 'bits_burned' or 'keys_stored', 'cut_id', ARGV[1],
    'connection_id', ARGV[8], 'use', use, 'key_count', math.floor((#ARGV - 8) / 2), 'bits', bits)
return 'done'
