-- Destroys what has expired, a bounded number of keys a call, and forgets who might have fetched it.
-- KEYS: account, audit, entitlement
-- ARGV: time of a test or '', greatest number of entries of each kind
-- `ends:pool` are batches by their end; `ends:entitlement` keys by when nobody can fetch a copy any more. What is no more in
-- its store was delivered or destroyed.
-- Returns the number of entries looked at, and of copies of keys that expired.
local fast, slow = site_clocks(ARGV[1])
local most = tonumber(ARGV[2])
local function due(set, now)
    return redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, most)
end

local ids, bits = {}, {}  -- of each store
local function expired(store, id, key_bits)
    ids[store], bits[store] = ids[store] or {}, bits[store] or 0
    table.insert(ids[store], id)
    bits[store] = bits[store] + key_bits
end

local ended = {}  -- of each pool, the ends of its batches and how many keys these have
for _, batch in ipairs(due('ends:pool', fast)) do
    local pool = string.sub(batch, 14)
    ended[pool] = ended[pool] or {count = 0}
    ended[pool][string.sub(batch, 1, 13)] = true
    ended[pool].count = ended[pool].count + tonumber(redis.call('HGET', 'batches', batch))
end
local seen_count = 0
for pool, of_pool in pairs(ended) do
    -- Pools are filled at their end, so what ends first is at their beginning, but for batches that came late.
    local from, gone, wanted = 0, {}, math.min(of_pool.count, most - seen_count)
    while #gone < wanted do
        local records = redis.call('LRANGE', pool, from, from + 999)
        for _, record in ipairs(records) do
            if of_pool[end_in(record)] and #gone < wanted then
                redis.call('LREM', pool, 1, record)
                gone[#gone + 1], from = record, from - 1
                expired(pool, id_in(record), bits_of_record(record))
            end
        end
        if #records < 1000 then
            break
        end
        from = from + 1000
    end
    leave_batches(pool, gone)
    seen_count = seen_count + #gone
end

local entitlements = due('ends:entitlement', slow)
seen_count = seen_count + #entitlements
if #entitlements > 0 then
    for i, entitled in ipairs(redis.call('HMGET', KEYS[3], unpack(entitlements))) do
        local id, store = entitlements[i], entitled and 'copies:' .. string.sub(entitled, 1, 36)
        for recipient in string.gmatch(entitled or '', '%z([^%z\n]+)') do
            local copy = redis.call('HGET', store, id .. recipient)
            if copy then
                redis.call('HDEL', store, id .. recipient)
                expired(store, id, bits_of_copy(copy))
            end
        end
    end
    redis.call('ZREM', 'ends:entitlement', unpack(entitlements))
    redis.call('HDEL', KEYS[3], unpack(entitlements))
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
return {seen_count, key_count}
