-- A connection was removed or readmitted. A removal destroys its keys here, and lets none in until it is readmitted.
-- KEYS: revisions followed, connections removed, copies of the connection, account, audit
-- ARGV: connection id (16 bytes), revision of the change, '1' where it is a removal, name of its pools before the size
-- Returns the number of copies of keys destroyed; 0 also where a later revision was followed before.
local followed = redis.call('HGET', KEYS[1], ARGV[1])
if followed and tonumber(followed) > tonumber(ARGV[2]) then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
count_act()
if ARGV[3] ~= '1' then
    redis.call('SREM', KEYS[2], ARGV[1])
    return 0
end
redis.call('SADD', KEYS[2], ARGV[1])

local ids, bits = {}, 0
for size = 8, 4096, 8 do
    local pool = ARGV[4] .. size
    local records = redis.call('LRANGE', pool, 0, -1)
    for _, record in ipairs(records) do
        ids[#ids + 1] = id_in(record)
        bits = bits + size
    end
    redis.call('DEL', pool)
    leave_batches(pool, records)
end
local copies = redis.call('HGETALL', KEYS[3])
for i = 1, #copies, 2 do
    ids[#ids + 1] = id_in(copies[i])
    bits = bits + bits_of_copy(copies[i + 1])
end
redis.call('DEL', KEYS[3])
if #ids == 0 then
    return 0
end
redis.call('HINCRBY', KEYS[4], 'stored', -bits)
redis.call('HINCRBY', KEYS[4], 'destroyed', bits)
for first = 1, #ids, 1000 do
    local last = math.min(first + 999, #ids)
    redis.call('XADD', KEYS[5], '*', 'event', 'keys_destroyed', 'reason', 'connection_removed', 'connection_id', ARGV[1],
        'key_count', last - first + 1, 'key_ids', table.concat(ids, '', first, last))
end
return #ids
