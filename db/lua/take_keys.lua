-- A master takes keys from a pool: all it asked for, or none. ETSI GS QKD 014 table 5: they leave the pool by that.
-- KEYS: pool, account, audit, quota of the master
-- ARGV: key count, key size in bits, connection id, master SAE, time of a test or '', greatest age in ms or '' for any,
--       quota of bits an hour or '', quota of bits a day or ''
-- The oldest first; where there is a greatest age, the youngest, so that the older ones are left for others. What has
-- expired and is met on the way is not given out but destroyed.
-- Keys whose peer has not confirmed the witness stay where they are, as do those of an epoch that is over.
-- Returns {records} with all of them, or the number that is available, or {'quota', milliseconds until there is room}, or
-- {'closed', KME id} where there are too few without those that wait for that KME's confirmation.
local wanted, size_bits = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = site_clocks(ARGV[5])
local bits, used, room_in = wanted * size_bits, {}, 0
for i, length in ipairs({3600000, 86400000}) do
    local quota = tonumber(ARGV[6 + i])
    if quota then
        local began, spent = unpack(redis.call('HMGET', KEYS[4], 'began:' .. length, 'bits:' .. length))
        if not began or now >= tonumber(began) + length then
            began, spent = now, 0
        end
        if tonumber(spent) + bits > quota then
            room_in = math.max(room_in, tonumber(began) + length - now)
        end
        used[length] = {began, tonumber(spent) + bits}
    end
end
if room_in > 0 then
    return {'quota', room_in}
end

local function has_ended(record)
    local ends = redis.call('ZSCORE', 'ends:pool', string.sub(record, 1, 16) .. KEYS[1])
    return tonumber(ends or 0) <= now
end

local run, closed = this_run(), nil
local function is_open(record)
    local bond = bond_in(redis.call('HGET', 'entitlement', string.sub(record, 1, 16)))
    local state = bond_state(bond, run)
    closed = closed or state == 'closed' and bond
    return state == 'open'
end

local records = {}
if ARGV[6] == '' then
    local ended, others, left = {}, {}, {}
    while #records < wanted and #ended + #others < 1000 do
        local record = redis.call('LPOP', KEYS[1])
        if not record then
            break
        end
        if has_ended(record) then
            ended[#ended + 1] = record
        else
            left[#left + 1] = record
            table.insert(is_open(record) and records or others, record)
        end
    end
    if #ended > 0 then
        local ids = {}
        for i, record in ipairs(ended) do
            ids[i] = string.sub(record, 1, 16)
            redis.call('ZREM', 'ends:pool', ids[i] .. KEYS[1])
        end
        count_act()
        redis.call('HINCRBY', KEYS[2], 'stored', -#ids * size_bits)
        redis.call('HINCRBY', KEYS[2], 'expired', #ids * size_bits)
        redis.call('XADD', KEYS[3], '*', 'event', 'keys_expired', 'connection_id', ARGV[3], 'key_count', #ids,
            'key_ids', table.concat(ids), 'bits', #ids * size_bits)
    end
    if #records == wanted then
        left = others
    end
    for i = #left, 1, -1 do
        redis.call('LPUSH', KEYS[1], left[i])
    end
    if #records < wanted then
        return closed and {'closed', redis.call('HGET', 'bonds', closed)} or redis.call('LLEN', KEYS[1]) - #others
    end
else
    local newest, young = redis.call('LRANGE', KEYS[1], -wanted, -1), 0
    for i = #newest, 1, -1 do
        if now - tonumber(string.sub(newest[i], 17, 29)) > tonumber(ARGV[6]) or has_ended(newest[i])
            or not is_open(newest[i]) then
            break
        end
        young = young + 1
    end
    if young < wanted then
        return closed and {'closed', redis.call('HGET', 'bonds', closed)} or young
    end
    records = redis.call('RPOP', KEYS[1], wanted)
end

local ids = {}
for i, record in ipairs(records) do
    ids[i] = string.sub(record, 1, 16)
    redis.call('ZREM', 'ends:pool', ids[i] .. KEYS[1])
end
for length, one in pairs(used) do
    redis.call('HSET', KEYS[4], 'began:' .. length, string.format('%d', one[1]), 'bits:' .. length,
        string.format('%d', one[2]))
end
count_act()
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'delivered', bits)
redis.call('XADD', KEYS[3], '*', 'event', 'keys_delivered', 'role', 'master', 'connection_id', ARGV[3], 'sae_id', ARGV[4],
    'key_ids', table.concat(ids), 'bits', bits)
return records
