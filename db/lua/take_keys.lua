-- A master takes keys from a pool: all it asked for, or none. ETSI GS QKD 014 table 5: they leave the pool by that.
-- KEYS: pool, account, audit
-- ARGV: key count, key size in bits, connection id, master SAE, now in ms or '' for the store's own clock, greatest age
--       in ms or '' for any
-- The oldest first; where there is a greatest age, the youngest, so that the older ones are left for others.
-- Returns {records} with all of them, or the number that is available.
local wanted = tonumber(ARGV[1])
local available, records = redis.call('LLEN', KEYS[1]), nil
if ARGV[6] == '' then
    if available < wanted then
        return available
    end
    records = redis.call('LPOP', KEYS[1], wanted)
else
    local now = tonumber(ARGV[5])
    if not now then
        local time = redis.call('TIME')
        now = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    local newest, young = redis.call('LRANGE', KEYS[1], -wanted, -1), 0
    for i = #newest, 1, -1 do
        if now - tonumber(string.sub(newest[i], 17, 29)) > tonumber(ARGV[6]) then
            break
        end
        young = young + 1
    end
    if young < wanted then
        return young
    end
    records = redis.call('RPOP', KEYS[1], wanted)
end
local bits, ids = wanted * tonumber(ARGV[2]), {}
for i, record in ipairs(records) do
    ids[i] = string.sub(record, 1, 16)
end
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'delivered', bits)
redis.call('XADD', KEYS[3], '*', 'event', 'keys_delivered', 'role', 'master', 'connection_id', ARGV[3], 'sae_id', ARGV[4],
    'key_ids', table.concat(ids), 'bits', bits)
return records
