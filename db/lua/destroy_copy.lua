-- A recipient gives up its copy of a key without having fetched it.
-- KEYS: copies of the connection, account, audit
-- ARGV: key id, recipient's SAE id, connection id (16 bytes)
-- Returns the number of bits destroyed; 0 where there is no such copy: it was fetched, or destroyed before.
local copy = redis.call('HGET', KEYS[1], ARGV[1] .. ARGV[2])
if not copy then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[1] .. ARGV[2])
-- What is around a wrapped key: 13 digits of the moment, then 4 bytes of fingerprint, 12 of nonce and 16 of tag.
local bits = 8 * (#copy - 13 - 32)
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'destroyed', bits)
redis.call('XADD', KEYS[3], '*', 'event', 'key_consumed', 'connection_id', ARGV[3], 'sae_id', ARGV[2],
    'key_ids', ARGV[1], 'bits', bits)
return bits
