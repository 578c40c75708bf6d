-- A recipient fetches its copies of keys by their ids: all of them, or none and nothing is consumed (ETSI GS QKD 014
-- table 7, clause 6.4). Other recipients' copies stay. Which connection's store a copy is in, its entitlement tells.
-- KEYS: entitlement, account, audit
-- ARGV: caller, master SAE of the path, time of a test or '', mark of the catalogue or '', then the key ids
-- Where the mark is not the one that the caller went by, SAEs or connections have changed: {'changed'}, and nothing was done.
-- Returns {'ok', connection ids, copy of each in the order asked}, where one connection id is that of all keys, several
-- are those of each; or {'not_entitled' or 'not_found', how many of the keys are, or were, for the caller}; or {'closed',
-- KME id} where one waits for that KME's confirmation of the witness. A key of an epoch that is over is not found.
-- {'unchecked'} where one is not here, and Postgres was not compared yet since the server started: this may be another store.
local caller, master = '\0' .. ARGV[1] .. '\0', '\n' .. ARGV[2]
if ARGV[4] ~= '' and redis.call('GET', 'catalogue') ~= ARGV[4] then
    return {'changed'}
end
local ids, run = {unpack(ARGV, 5)}, this_run()
local _, now = site_clocks(ARGV[3])

-- Each command of the store is called once for all keys, not once for each: the calls are what a large request costs. And
-- what follows from an entitlement is looked at once: the keys of a batch all have the same.
-- connection id (36 characters), bond (16) \0 recipient \0 ... recipient \0 \n master; SAE ids have only printable ones
local function kind_of(entitled)
    local kind = {connection = string.sub(entitled, 1, 36), others = {}, ids = {}, fields = {}, places = {}}
    kind.store = 'copies:' .. kind.connection
    for recipient in string.gmatch(entitled, '%z([^%z\n]+)') do
        if recipient ~= ARGV[1] then
            table.insert(kind.others, recipient)
        end
    end
    kind.is_for_caller = string.find(entitled, caller, 37, true)
    if kind.is_for_caller and string.sub(entitled, -#master) == master then
        kind.bond = bond_in(entitled)
        kind.state = bond_state(kind.bond, run)
    end
    return kind
end
local kinds, known, mine, strange, lacking, closed = {}, {}, 0, false, false, nil
local entitlements = redis.call('HMGET', KEYS[1], unpack(ids))
for i = 1, #ids do
    local entitled = entitlements[i]
    local kind = entitled and (known[entitled] or kind_of(entitled))
    if not kind then
        lacking = true
    elseif not kind.is_for_caller then
        strange = true
    else
        mine = mine + 1
        if not known[entitled] then
            known[entitled], kinds[#kinds + 1] = kind, kind
            lacking = lacking or kind.state ~= 'open'
            closed = closed or kind.state == 'closed' and kind.bond
        end
        local n = #kind.ids + 1
        kind.ids[n], kind.fields[n], kind.places[n] = ids[i], ids[i] .. ARGV[1], i
    end
end
if strange then
    return {'not_entitled', mine}
end
if closed then
    return {'closed', redis.call('HGET', 'bonds', closed)}
end

-- Texts of 13 digits and more are in the order of their numbers: to compare the copy makes no string of its beginning.
local over, copies, connections, bits = time_text(now + 1), {}, {}, 0
for _, kind in ipairs(lacking and {} or kinds) do
    local found = redis.call('HMGET', kind.store, unpack(kind.fields))
    kind.bits = 0
    for n, place in ipairs(kind.places) do
        local copy = found[n]
        if not copy or copy < over then
            lacking = true
            break
        end
        copies[place], connections[place] = copy, kind.connection
        kind.bits = kind.bits + bits_of_copy(copy)
    end
    bits = bits + kind.bits
end
if lacking then
    return is_checked(run) and {'not_found', mine} or {'unchecked'}
end

count_act()
-- An entry of the audit trail is of one connection.
local parts, of_connection = {}, {}
for _, kind in ipairs(kinds) do
    redis.call('HDEL', kind.store, unpack(kind.fields))
    local part = of_connection[kind.connection]
    if not part then
        part = {connection = kind.connection, bits = 0, delivered = {}, consumed = {}}
        parts[#parts + 1], of_connection[kind.connection] = part, part
    end
    part.bits = part.bits + kind.bits
    for _, id in ipairs(kind.ids) do
        local left = false
        for _, recipient in ipairs(kind.others) do
            left = left or redis.call('HEXISTS', kind.store, id .. recipient) == 1
        end
        part.delivered[#part.delivered + 1] = id
        if not left then
            part.consumed[#part.consumed + 1] = id
        end
    end
end
for _, part in ipairs(parts) do
    local entry = {'event', 'keys_delivered', 'role', 'slave', 'connection_id', part.connection, 'sae_id', ARGV[1],
        'key_ids', table.concat(part.delivered), 'bits', part.bits}
    local are_all_consumed = #part.consumed == #part.delivered
    if are_all_consumed then
        entry[#entry + 1], entry[#entry + 2] = 'consumed', 'true'
    end
    redis.call('XADD', KEYS[3], '*', unpack(entry))
    if #part.consumed > 0 and not are_all_consumed then
        redis.call('XADD', KEYS[3], '*', 'event', 'keys_consumed', 'connection_id', part.connection,
            'key_ids', table.concat(part.consumed))
    end
end
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'delivered', bits)
return {'ok', #parts == 1 and {parts[1].connection} or connections, unpack(copies)}
