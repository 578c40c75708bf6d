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

-- Each command of the store is called once for all keys, not once for each: the calls are what a large request costs. So
-- all that is to be known of a key is in its record; and what follows from its end and its bond is looked at once for all
-- keys that have the same, as those of a batch do.
local run, known, closed = this_run(), {}, nil
local function about(record)
    local end_and_bond = string.sub(record, 30, 58)
    local found = known[end_and_bond]
    if not found then
        found = {has_ended = tonumber(end_in(record)) <= now}
        if not found.has_ended then
            local bond = bond_of_record(record)
            local state = bond_state(bond, run)
            found.is_open = state == 'open'
            closed = closed or state == 'closed' and bond
        end
        known[end_and_bond] = found
    end
    return found
end
local function ids_in(some)
    local ids = {}
    for i = 1, #some do
        ids[i] = id_in(some[i])
    end
    return table.concat(ids)
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
        for i = 1, #popped do
            local record = popped[i]
            local known_of_it = about(record)
            if known_of_it.has_ended and is_checked(run) then
                ended[#ended + 1] = record
            else
                left[#left + 1] = record
                if known_of_it.is_open then
                    records[#records + 1] = record
                else
                    others[#others + 1] = record
                end
            end
        end
    end
    if #ended > 0 then
        leave_batches(KEYS[1], ended)
        count_act()
        redis.call('HINCRBY', KEYS[2], 'stored', -#ended * size_bits)
        redis.call('HINCRBY', KEYS[2], 'expired', #ended * size_bits)
        redis.call('XADD', KEYS[3], '*', 'event', 'keys_expired', 'connection_id', ARGV[3], 'key_count', #ended,
            'key_ids', ids_in(ended), 'bits', #ended * size_bits)
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
    for i = #newest, 1, -1 do
        local record = newest[i]
        if now - moment_in(record) > tonumber(ARGV[6]) or not about(record).is_open then
            break
        end
        young = young + 1
    end
    if young < wanted then
        return too_few(young)
    end
    records = redis.call('RPOP', KEYS[1], wanted)
end

leave_batches(KEYS[1], records)
for length, one in pairs(used) do
    redis.call('HSET', KEYS[4], 'began:' .. length, string.format('%d', one[1]), 'bits:' .. length,
        string.format('%d', one[2]))
end
count_act()
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'delivered', bits)
redis.call('XADD', KEYS[3], '*', 'event', 'keys_delivered', 'role', 'master', 'connection_id', ARGV[3], 'sae_id', ARGV[4],
    'key_ids', ids_in(records), 'bits', bits)
return records
