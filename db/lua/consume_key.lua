-- A recipient needs no more of a key: where it did not fetch its copy, that is destroyed.
-- KEYS: entitlement, account, audit
-- ARGV: key id, SAE
-- Returns 'done', 'not_entitled', 'unknown', or 'unchecked' where the store was not compared yet since it started.
local entitled = redis.call('HGET', KEYS[1], ARGV[1])
if not entitled then
    return 'unknown'
end
local master = '\n' .. ARGV[2]
if not string.find(entitled, '\0' .. ARGV[2] .. '\0', 37, true) then
    return string.sub(entitled, -#master) == master and 'done' or 'not_entitled'
end
local connection = string.sub(entitled, 1, 36)
local store = 'copies:' .. connection
local copy = redis.call('HGET', store, ARGV[1] .. ARGV[2])
if not copy then
    return 'done'
end
if not is_checked(this_run()) then
    return 'unchecked'
end
redis.call('HDEL', store, ARGV[1] .. ARGV[2])
count_act()
local bits = bits_of_copy(copy)
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'destroyed', bits)
redis.call('XADD', KEYS[3], '*', 'event', 'keys_destroyed', 'reason', 'not_needed', 'connection_id', connection, 'sae_id',
    ARGV[2], 'key_ids', ARGV[1], 'bits', bits)
for recipient in string.gmatch(entitled, '%z([^%z\n]+)') do
    if redis.call('HEXISTS', store, ARGV[1] .. recipient) == 1 then
        return 'done'
    end
end
redis.call('XADD', KEYS[3], '*', 'event', 'keys_consumed', 'connection_id', connection, 'key_ids', ARGV[1])
return 'done'
