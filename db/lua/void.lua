-- Takes the keys of a batch back that nobody has been given yet, and burns their bits: one step.
-- KEYS: cuts of the block, account, audit, pool, copies of the connection
-- ARGV: cut id, digest of the cut, first bit, end bit, connection id, '1' where the pool got a copy, number n of recipients
--       here, the recipients, then the key ids
-- Returns 'voided'; 'again' where nobody has them, 'delivered' where the master has them (nothing changed), 'open' where
-- the range was not cut, 'differs' where another cut has this id, 'unchecked' where the store was not compared yet since it
-- started.
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before then
    return 'open'
end
local range = ARGV[3] .. ':' .. ARGV[4] .. ':'
local from, was, digest = string.match(before, '^(%d+:%d+:)(%l+):(.*)$')
if from ~= range or digest ~= ARGV[2] then
    return 'differs'
end
if was ~= 'stored' then
    return 'again'
end
if not is_checked(this_run()) then
    return 'unchecked'
end
local recipient_count = tonumber(ARGV[7])
local first_key = 8 + recipient_count
local bits, of_batch = 0, {}
for i = first_key, #ARGV do
    of_batch[ARGV[i]] = true
end
if ARGV[6] == '1' then
    local voided = {}
    for _, record in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do
        if of_batch[id_in(record)] then
            redis.call('LREM', KEYS[4], 1, record)
            voided[#voided + 1] = record
            bits = bits + bits_of_record(record)
        end
    end
    leave_batches(KEYS[4], voided)
    if bits == 0 then
        return 'delivered'
    end
end
for i = first_key, #ARGV do
    for r = 8, first_key - 1 do
        local copy = redis.call('HGET', KEYS[5], ARGV[i] .. ARGV[r])
        if copy then
            redis.call('HDEL', KEYS[5], ARGV[i] .. ARGV[r])
            bits = bits + bits_of_copy(copy)
        end
    end
end
redis.call('HSET', KEYS[1], ARGV[1], range .. 'burned:' .. ARGV[2])
count_act()
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'burned', bits)
redis.call('XADD', KEYS[3], '*', 'event', 'keys_voided', 'cut_id', ARGV[1], 'connection_id', ARGV[5],
    'key_count', #ARGV - first_key + 1, 'key_ids', table.concat(ARGV, '', first_key), 'bits', bits)
return 'voided'
