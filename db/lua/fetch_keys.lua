-- A slave fetches keys by their ids: all of them, or none and nothing is consumed (ETSI GS QKD 014 table 7, clause 6.4).
-- KEYS: slave's store of the connection, entitlement, account, audit
-- ARGV: connection id, slave SAE, number n of the caller's connections, their ids, then the key ids
-- Returns {'ok', wrapped keys in the order asked}, {'not_entitled'} or {'not_found'}.
local n = tonumber(ARGV[3])
local mine = {}
for i = 4, 3 + n do
    mine[ARGV[i]] = true
end
for i = 4 + n, #ARGV do
    local connection = redis.call('HGET', KEYS[2], ARGV[i])
    if connection and not mine[connection] then
        return {'not_entitled'}
    end
end
local answer, ids = {'ok'}, {}
for i = 4 + n, #ARGV do
    local wrapped = redis.call('HGET', KEYS[1], ARGV[i])
    if not wrapped then
        return {'not_found'}
    end
    answer[#answer + 1] = wrapped
    ids[#ids + 1] = ARGV[i]
end
local bits = 0
for i, id in ipairs(ids) do
    redis.call('HDEL', KEYS[1], id)
    -- What is around a wrapped key is 4 bytes of fingerprint, 12 of nonce and 16 of tag (kme/keywrap.py).
    bits = bits + 8 * (#answer[i + 1] - 32)
end
redis.call('HINCRBY', KEYS[3], 'stored', -bits)
redis.call('HINCRBY', KEYS[3], 'delivered', bits)
redis.call('XADD', KEYS[4], '*', 'event', 'keys_delivered', 'role', 'slave', 'connection_id', ARGV[1], 'sae_id', ARGV[2],
    'key_ids', table.concat(ids), 'bits', bits)
return answer
