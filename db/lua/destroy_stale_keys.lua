-- Destroys, of the named copies of keys in one pool or of one connection, those whose bond is over.
-- KEYS: pool or copies of a connection, account, audit, entitlement
-- ARGV: connection id (36 characters), then records of the pool, or fields of the copies
-- Returns how many copies it has destroyed.
local is_pool, ids, bits, destroyed = string.sub(KEYS[1], 1, 5) == 'pool:', {}, 0, {}
for i = 2, #ARGV do
    local id = id_in(ARGV[i])
    if bond_state(bond_in(redis.call('HGET', KEYS[4], id))) == 'stale' then
        local copy = not is_pool and redis.call('HGET', KEYS[1], ARGV[i])
        if is_pool and redis.call('LREM', KEYS[1], 1, ARGV[i]) == 1 then
            ids[#ids + 1], destroyed[#destroyed + 1] = id, ARGV[i]
            bits = bits + bits_of_record(ARGV[i])
        elseif copy then
            redis.call('HDEL', KEYS[1], ARGV[i])
            ids[#ids + 1] = id
            bits = bits + bits_of_copy(copy)
        end
    end
end
if #ids > 0 then
    leave_batches(KEYS[1], destroyed)
    count_act()
    redis.call('HINCRBY', KEYS[2], 'stored', -bits)
    redis.call('HINCRBY', KEYS[2], 'destroyed', bits)
    redis.call('XADD', KEYS[3], '*', 'event', 'keys_destroyed', 'reason', 'epoch_over', 'connection_id', ARGV[1], 'key_count',
        #ids, 'key_ids', table.concat(ids), 'bits', bits)
end
return #ids
