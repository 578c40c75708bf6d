-- A master takes keys from a pool: all it asked for, or none. ETSI GS QKD 014 table 5: they leave the pool by that.
-- KEYS: pool, account, audit
-- ARGV: key count, key size in bits, connection id, master SAE
-- Returns {records} with all of them, or the number that is available.
local wanted = tonumber(ARGV[1])
local available = redis.call('LLEN', KEYS[1])
if available < wanted then
    return available
end
local records = redis.call('LPOP', KEYS[1], wanted)
local bits, ids = wanted * tonumber(ARGV[2]), {}
for i, record in ipairs(records) do
    ids[i] = string.sub(record, 1, 16)
end
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'delivered', bits)
redis.call('XADD', KEYS[3], '*', 'event', 'keys_delivered', 'role', 'master', 'connection_id', ARGV[3], 'sae_id', ARGV[4],
    'key_ids', table.concat(ids), 'bits', bits)
return records
