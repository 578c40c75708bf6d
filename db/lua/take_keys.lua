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
-- Of each record its id, its member of `ends:pool`, and its bond, or false where it has ended. `states` of the bonds: of a
-- pool's keys they are few.
local run, states, closed = this_run(), {}, nil
local function looked_at(records)
    local ids, members = {}, {}
    for i = 1, #records do
        ids[i] = string.sub(records[i], 1, 16)
        members[i] = ids[i] .. KEYS[1]
    end
    local ends = redis.call('ZMSCORE', 'ends:pool', unpack(members))
    local bonds = redis.call('HMGET', 'entitlement', unpack(ids))
    for i = 1, #ids do
        local bond = bond_in(bonds[i]) or ''
        states[bond] = states[bond] or bond_state(bond, run)
        bonds[i] = tonumber(ends[i] or 0) > now and bond
    end
    return ids, members, bonds
end
local function too_few(count)
    return closed and {'closed', redis.call('HGET', 'bonds', closed)} or count
end

local records, ids, members = {}, {}, {}
if ARGV[6] == '' then
    local ended, ended_members, others, left = {}, {}, {}, {}
    while #records < wanted and #ended + #others < 1000 do
        local popped = redis.call('LPOP', KEYS[1], wanted - #records)
        if not popped then
            break
        end
        local some_ids, some_members, bonds = looked_at(popped)
        for i = 1, #popped do
            local bond, given = bonds[i], #records + 1
            if not bond and is_checked(run) then
                ended[#ended + 1], ended_members[#ended_members + 1] = some_ids[i], some_members[i]
            else
                left[#left + 1] = popped[i]
                if bond and states[bond] == 'open' then
                    records[given], ids[given], members[given] = popped[i], some_ids[i], some_members[i]
                else
                    others[#others + 1] = popped[i]
                    closed = closed or bond and states[bond] == 'closed' and bond
                end
            end
        end
    end
    if #ended > 0 then
        redis.call('ZREM', 'ends:pool', unpack(ended_members))
        count_act()
        redis.call('HINCRBY', KEYS[2], 'stored', -#ended * size_bits)
        redis.call('HINCRBY', KEYS[2], 'expired', #ended * size_bits)
        redis.call('XADD', KEYS[3], '*', 'event', 'keys_expired', 'connection_id', ARGV[3], 'key_count', #ended,
            'key_ids', table.concat(ended), 'bits', #ended * size_bits)
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
    local newest, young, bonds = redis.call('LRANGE', KEYS[1], -wanted, -1), 0, nil
    if #newest > 0 then
        ids, members, bonds = looked_at(newest)
    end
    for i = #newest, 1, -1 do
        if now - tonumber(string.sub(newest[i], 17, 29)) > tonumber(ARGV[6]) or states[bonds[i]] ~= 'open' then
            closed = states[bonds[i]] == 'closed' and bonds[i]
            break
        end
        young = young + 1
    end
    if young < wanted then
        return too_few(young)
    end
    records = redis.call('RPOP', KEYS[1], wanted)
end

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
