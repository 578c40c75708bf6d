-- A master takes keys from a pool: all it asked for, or none. ETSI GS QKD 014 table 5: they leave the pool by that.
-- KEYS: pool, account, audit, quota of the master
-- ARGV: key count, key size in bits, connection id, master SAE, time of a test or '', greatest age in ms or '' for any,
--       quota of bits an hour or '', quota of bits a day or '', mark of the catalogue or ''
-- The oldest first; where there is a greatest age, the youngest, so that the older ones are left for others. What has
-- expired and is met on the way is not given out but destroyed.
-- Keys whose peer has not confirmed the witness stay where they are, as do those of an epoch that is over.
-- Where the mark is not the one that the caller went by, SAEs or connections have changed: {'changed'}, and nothing was done.
-- Returns {records} with all of them, or the number that is available, or {'quota', milliseconds until there is room}, or
-- {'closed', KME id} where there are too few without those that wait for that KME's confirmation.
if ARGV[9] ~= '' and redis.call('GET', 'catalogue') ~= ARGV[9] then
    return {'changed'}
end
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

-- Each command of the store is called once for all keys, not once for each: the calls are what a large request costs.
-- Of each record whether it is 'open', or else 'ended', 'closed' or 'stale', and its bond. A pool's keys have few bonds.
local run, states, closed = this_run(), {}, nil
local function ids_of(records)
    local ids, members = {}, {}
    for i, record in ipairs(records) do
        ids[i] = string.sub(record, 1, 16)
        members[i] = ids[i] .. KEYS[1]
    end
    return ids, members
end
local function looked_at(records)
    local ids, members = ids_of(records)
    local ends = redis.call('ZMSCORE', 'ends:pool', unpack(members))
    local entitled, bonds = redis.call('HMGET', 'entitlement', unpack(ids)), {}
    for i, one in ipairs(entitled) do
        local bond = bond_in(one) or ''
        states[bond] = states[bond] or bond_state(bond, run)
        bonds[i], ends[i] = bond, tonumber(ends[i] or 0) <= now and 'ended' or states[bond]
    end
    return ends, bonds
end
local function too_few(count)
    return closed and {'closed', redis.call('HGET', 'bonds', closed)} or count
end

local records = {}
if ARGV[6] == '' then
    local ended, others, left = {}, {}, {}
    while #records < wanted and #ended + #others < 1000 do
        local popped = redis.call('LPOP', KEYS[1], wanted - #records)
        if not popped then
            break
        end
        local found, bonds = looked_at(popped)
        for i, record in ipairs(popped) do
            if found[i] == 'ended' then
                ended[#ended + 1] = record
            else
                left[#left + 1] = record
                table.insert(found[i] == 'open' and records or others, record)
                closed = closed or found[i] == 'closed' and bonds[i]
            end
        end
    end
    if #ended > 0 then
        local ids, members = ids_of(ended)
        redis.call('ZREM', 'ends:pool', unpack(members))
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
        return too_few(redis.call('LLEN', KEYS[1]) - #others)
    end
else
    local newest, young = redis.call('LRANGE', KEYS[1], -wanted, -1), 0
    if #newest == 0 then
        return 0
    end
    local found, bonds = looked_at(newest)
    for i = #newest, 1, -1 do
        if now - tonumber(string.sub(newest[i], 17, 29)) > tonumber(ARGV[6]) then
            break
        elseif found[i] ~= 'open' then
            closed = found[i] == 'closed' and bonds[i]
            break
        end
        young = young + 1
    end
    if young < wanted then
        return too_few(young)
    end
    records = redis.call('RPOP', KEYS[1], wanted)
end

local ids, members = ids_of(records)
redis.call('ZREM', 'ends:pool', unpack(members))
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
