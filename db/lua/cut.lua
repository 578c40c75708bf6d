-- Takes a range out of a block for good, and gives its bits to those who get a copy here, or to nobody: one step.
-- KEYS: block, cuts of the block, account, audit, entitlement, pool, copies of the connection, connections removed
-- ARGV: cut id, digest of the cut, block version it was computed from, rewrapped block, first bit, end bit,
--       entry of the account ('stored', 'burned' or 'destroyed'), connection id (16 bytes or none), entitlement of its
--       keys, time of a test or '', '1' where the pool gets a copy, number n of recipients here, when the keys were
--       recorded by the fast clock or '', for how long in ms the pool keeps them from then, for how long recipients'
--       copies are kept from now, the recipients, then key id and wrapped key for each key
-- Returns 'done', or 'again' (this very cut took place before), or why nothing was changed: 'differs' (another cut under
-- this id), 'closed' (the block's other end has not confirmed the witness yet), 'removed' (the connection is), 'filled' or
-- 'void' (the same range was stored, or given to nobody, before), 'gone' (no such block here, or of an epoch that is over),
-- 'raced' (the block changed meanwhile: compute anew), 'rekeyed' (the KEK did: wrap anew), 'overlap', 'known_key'.
local first, last, entry = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local range = ARGV[5] .. ':' .. ARGV[6] .. ':'
local bond, version = unpack(redis.call('HMGET', KEYS[1], 'bond', 'version'))
local state = version and bond_state(bond, this_run())
if state == 'stale' then
    return 'gone'
elseif state == 'closed' then
    return 'closed'
end
local before = redis.call('HGET', KEYS[2], ARGV[1])
if before then
    local from, was, digest = string.match(before, '^(%d+:%d+:)(%l+):(.*)$')
    if from ~= range or digest ~= ARGV[2] then
        return 'differs'
    end
    return was == entry and 'again' or was == 'stored' and 'filled' or 'void'
end
if entry == 'stored' and redis.call('SISMEMBER', KEYS[8], ARGV[8]) == 1 then
    return 'removed'
end
if not version then
    return 'gone'
end
if version ~= ARGV[3] then
    return 'raced'
end
local kek = redis.call('GET', 'kek')
if kek and string.sub(ARGV[4], 1, #kek) ~= kek then
    return 'rekeyed'
end
for _, mark in ipairs(redis.call('HVALS', KEYS[2])) do
    local from, to = string.match(mark, '^(%d+):(%d+):')
    if first < tonumber(to) and tonumber(from) < last then
        return 'overlap'
    end
end
local recipient_count = tonumber(ARGV[12])
local first_key = 16 + recipient_count
for i = first_key, #ARGV, 2 do
    if redis.call('HEXISTS', KEYS[5], ARGV[i]) == 1 then
        return 'known_key'
    end
end

local fast, slow = site_clocks(ARGV[10])
local moment = tonumber(ARGV[13]) or fast
local pool_end, copies_end = time_text(moment + tonumber(ARGV[14])), time_text(slow + tonumber(ARGV[15]))
local before_key = time_text(moment) .. pool_end .. bond
local bits, ids = last - first, {}
local entitled = string.sub(ARGV[9], 1, 36) .. bond .. string.sub(ARGV[9], 37)
count_act()
redis.call('HSET', KEYS[2], ARGV[1], range .. entry .. ':' .. ARGV[2])
redis.call('HSET', KEYS[1], 'bits', ARGV[4], 'version', version + 1)
redis.call('HINCRBY', KEYS[1], 'uncut_bits', -bits)
for i = first_key, #ARGV, 2 do
    redis.call('HSET', KEYS[5], ARGV[i], entitled)
    if ARGV[11] == '1' then
        redis.call('RPUSH', KEYS[6], ARGV[i] .. before_key .. ARGV[i + 1])
    end
    for r = 16, first_key - 1 do
        redis.call('HSET', KEYS[7], ARGV[i] .. ARGV[r], copies_end .. ARGV[i + 1])
    end
    -- Who may fetch it is kept as long as a copy can be, so that the answers stay what they are.
    redis.call('ZADD', 'ends:entitlement', copies_end, ARGV[i])
    ids[#ids + 1] = ARGV[i]
end
if ARGV[11] == '1' and #ids > 0 then
    redis.call('HINCRBY', 'batches', pool_end .. KEYS[6], #ids)
    redis.call('ZADD', 'ends:pool', pool_end, pool_end .. KEYS[6])
end
local copy_count = entry == 'stored' and recipient_count + tonumber(ARGV[11]) or 1
redis.call('HINCRBY', KEYS[3], 'remainder', -bits)
redis.call('HINCRBY', KEYS[3], entry, bits * copy_count)
redis.call('HINCRBY', KEYS[3], 'copied', bits * (copy_count - 1))
redis.call('XADD', KEYS[4], '*', 'event', entry == 'stored' and 'keys_stored' or 'bits_' .. entry, 'cut_id', ARGV[1],
    'block_id', string.sub(KEYS[1], 7), 'connection_id', ARGV[8], 'key_count', #ids, 'copy_count', copy_count,
    'key_ids', table.concat(ids), 'bits', bits * copy_count)
return 'done'
