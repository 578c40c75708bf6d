-- Destroys, of the named copies of keys in one pool or of one connection, those whose bond is over.
-- KEYS: pool or copies of a connection, account, audit, entitlement
-- ARGV: connection id (36 characters), then records of the pool, or fields of the copies
-- Returns how many copies it has destroyed.
local is_pool, ids, bits = string.sub(KEYS[1], 1, 5) == 'pool:', {}, 0
for i = 2, #ARGV do
    local id = string.sub(ARGV[i], 1, 16)
    if bond_state(bond_in(redis.call('HGET', KEYS[4], id))) == 'stale' then
        -- Before a wrapped key is its moment; around it are 4 bytes of fingerprint, 12 of nonce and 16 of tag.
        local length
        if is_pool then
            length = redis.call('LREM', KEYS[1], 1, ARGV[i]) == 1 and #ARGV[i] - 16
            redis.call('ZREM', 'ends:pool', id .. KEYS[1])
        else
            local copy = redis.call('HGET', KEYS[1], ARGV[i])
            length = copy and #copy
            redis.call('HDEL', KEYS[1], ARGV[i])
            redis.call('ZREM', 'ends:copies', id .. KEYS[1] .. '|' .. string.sub(ARGV[i], 17))
        end
        if length then
            ids[#ids + 1] = id
            bits = bits + 8 * (length - 13 - 32)
        end
    end
end
if #ids > 0 then
    count_act()
    redis.call('HINCRBY', KEYS[2], 'stored', -bits)
    redis.call('HINCRBY', KEYS[2], 'destroyed', bits)
    redis.call('XADD', KEYS[3], '*', 'event', 'keys_destroyed', 'reason', 'epoch_over', 'connection_id', ARGV[1], 'key_count',
        #ids, 'key_ids', table.concat(ids), 'bits', bits)
end
return #ids
