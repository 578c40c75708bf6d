-- Destroys what has expired, a bounded number of keys a call, and forgets who might have fetched it.
-- KEYS: account, audit, entitlement
-- ARGV: time of a test or '', greatest number of entries of each kind
-- `ends:pool`, `ends:copies` and `ends:entitlement` are sorted by when the time of a key is over. What is no more in its
-- store was delivered or destroyed.
-- Returns the number of entries looked at, and of copies of keys that expired.
local fast, slow = site_clocks(ARGV[1])
local function due(set, now)
    local members = redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, ARGV[2])
    if #members > 0 then
        redis.call('ZREM', set, unpack(members))
    end
    return members
end

local ids, bits = {}, {}  -- of each store
local function expired(store, id, wrapped_length)
    ids[store], bits[store] = ids[store] or {}, bits[store] or 0
    table.insert(ids[store], id)
    -- What is around a wrapped key is 4 bytes of fingerprint, 12 of nonce and 16 of tag (kme/keywrap.py).
    bits[store] = bits[store] + 8 * (wrapped_length - 32)
end

local pools = due('ends:pool', fast)
local ended = {}  -- the key ids of each pool
for _, member in ipairs(pools) do
    local pool = string.sub(member, 17)
    ended[pool] = ended[pool] or {count = 0}
    ended[pool][string.sub(member, 1, 16)] = true
    ended[pool].count = ended[pool].count + 1
end
for pool, of_pool in pairs(ended) do
    -- Pools are filled at their end, so what ends first is at their beginning, but for batches that came late.
    local from = 0
    while of_pool.count > 0 do
        local records = redis.call('LRANGE', pool, from, from + 999)
        for _, record in ipairs(records) do
            if of_pool[string.sub(record, 1, 16)] then
                redis.call('LREM', pool, 1, record)
                of_pool.count, from = of_pool.count - 1, from - 1
                expired(pool, string.sub(record, 1, 16), #record - 29)
            end
        end
        if #records < 1000 then
            break
        end
        from = from + 1000
    end
end

local copies = due('ends:copies', slow)
for _, member in ipairs(copies) do
    local id, store, recipient = string.sub(member, 1, 16), string.match(string.sub(member, 17), '^([^|]+)|(.*)$')
    local copy = redis.call('HGET', store, id .. recipient)
    if copy then
        redis.call('HDEL', store, id .. recipient)
        expired(store, id, #copy - 13)
    end
end

local key_count = 0
if next(ids) then
    count_act()
end
for store, of_store in pairs(ids) do
    key_count = key_count + #of_store
    redis.call('HINCRBY', KEYS[1], 'stored', -bits[store])
    redis.call('HINCRBY', KEYS[1], 'expired', bits[store])
    redis.call('XADD', KEYS[2], '*', 'event', 'keys_expired', 'connection_id', string.match(store, ':([^:]+)'), 'key_count',
        #of_store, 'key_ids', table.concat(of_store), 'bits', bits[store])
end

local entitlements = due('ends:entitlement', slow)
if #entitlements > 0 then
    redis.call('HDEL', KEYS[3], unpack(entitlements))
end
return {#pools + #copies + #entitlements, key_count}
