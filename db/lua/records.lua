-- What is around a key in its store (kme/keystore.py, "Layout"). Put before the scripts that need it.
-- A pool's records: key id (16 bytes) | when it was recorded (13 digits) | when its time in the pool is over (13 digits) |
-- bond (16 characters) | wrapped key. Of a recipient's copy: when its time is over (13 digits) | wrapped key.
-- A batch is what of a pool ends at one time: `batches` hash has how many of its keys are there, `ends:pool` its end.
local function time_text(milliseconds)
    return string.format('%013d', math.min(milliseconds, 9999999999999))
end
local function id_in(record)
    return string.sub(record, 1, 16)
end
local function moment_in(record)
    return tonumber(string.sub(record, 17, 29))
end
local function end_in(record)
    return string.sub(record, 30, 42)
end
local function bond_of_record(record)
    return string.sub(record, 43, 58)
end

-- What is around a wrapped key is 4 bytes of fingerprint, 12 of nonce and 16 of tag (kme/keywrap.py).
local function bits_of_record(record)
    return 8 * (#record - 58 - 32)
end
local function bits_of_copy(copy)
    return 8 * (#copy - 13 - 32)
end

-- These have left their pool.
local function leave_batches(pool, records)
    local left = {}
    for i = 1, #records do
        local over = end_in(records[i])
        left[over] = (left[over] or 0) + 1
    end
    for over, count in pairs(left) do
        if redis.call('HINCRBY', 'batches', over .. pool, -count) <= 0 then
            redis.call('HDEL', 'batches', over .. pool)
            redis.call('ZREM', 'ends:pool', over .. pool)
        end
    end
end
