-- A recipient fetches its copies of keys by their ids: all of them, or none and nothing is consumed (ETSI GS QKD 014
-- table 7, clause 6.4). Other recipients' copies stay. Which connection's store a copy is in, its entitlement tells.
-- KEYS: entitlement, account, audit
-- ARGV: caller, master SAE of the path, time of a test or '', mark of the catalogue or '', then the key ids
-- Where the mark is not the one that the caller went by, SAEs or connections have changed: {'changed'}, and nothing was done.
-- Returns {'ok', connection and wrapped key of each in the order asked}; or {'not_entitled' or 'not_found', how many of
-- the keys are, or were, for the caller}; or {'closed', KME id} where one waits for that KME's confirmation of the witness.
-- A key of an epoch that is over is not found. {'unchecked'} where one is not here, and Postgres was not compared yet
-- since the server started: this may be another store.
local caller, master = '\0' .. ARGV[1] .. '\0', '\n' .. ARGV[2]
if ARGV[4] ~= '' and redis.call('GET', 'catalogue') ~= ARGV[4] then
    return {'changed'}
end
local ids = {unpack(ARGV, 5)}
-- Each command of the store is called once for all keys, not once for each: the calls are what a large request costs.
local entitlements, states = redis.call('HMGET', KEYS[1], unpack(ids)), {}
local stores, fields, mine, strange, closed = {}, {}, 0, false, nil
local run = this_run()
local _, now = site_clocks(ARGV[3])
for i, id in ipairs(ids) do
    local entitled = entitlements[i]
    if entitled then
        -- connection id (36 characters) \0 recipient \0 ... recipient \0 \n master; SAE ids have only printable ones
        if string.find(entitled, caller, 37, true) then
            mine = mine + 1
            if string.sub(entitled, -#master) == master then
                local bond = bond_in(entitled)
                states[bond] = states[bond] or bond_state(bond, run)
                stores[i] = states[bond] == 'open' and 'copies:' .. string.sub(entitled, 1, 36) or nil
                closed = closed or states[bond] == 'closed' and bond
            end
        else
            strange = true
        end
    end
end
if strange then
    return {'not_entitled', mine}
end
if closed then
    return {'closed', redis.call('HGET', 'bonds', closed)}
end

-- Of one store mostly; additional slaves may ask for keys of several connections at once.
local fields_in = {}
for i, id in ipairs(ids) do
    local store = stores[i] or ''
    fields[i] = id .. ARGV[1]
    fields_in[store] = fields_in[store] or {}
    table.insert(fields_in[store], fields[i])
end
local copies = {}
for store, some in pairs(fields_in) do
    for i, copy in ipairs(store ~= '' and redis.call('HMGET', store, unpack(some)) or {}) do
        copies[some[i]] = copy
    end
end
local answer = {'ok'}
for i in ipairs(ids) do
    local copy = copies[fields[i]]
    if not copy or tonumber(string.sub(copy, 1, 13)) <= now then
        if redis.call('HGET', 'witness', 'checked') ~= run then
            return {'unchecked'}
        end
        return {'not_found', mine}
    end
    answer[#answer + 1] = string.sub(stores[i], 8)
    answer[#answer + 1] = string.sub(copy, 14)
end
count_act()
for store, some in pairs(fields_in) do
    redis.call('HDEL', store, unpack(some))
end
-- An entry of the audit trail is of one connection.
local bits, connections, parts = 0, {}, {}
for i, id in ipairs(ids) do
    local connection = answer[2 * i]
    local part = parts[connection]
    if not part then
        part = {bits = 0, delivered = {}, consumed = {}}
        parts[connection] = part
        connections[#connections + 1] = connection
    end
    local left = false
    for recipient in string.gmatch(entitlements[i], '%z([^%z\n]+)') do
        left = left or recipient ~= ARGV[1] and redis.call('HEXISTS', stores[i], id .. recipient) == 1
    end
    part.delivered[#part.delivered + 1] = id
    if not left then
        part.consumed[#part.consumed + 1] = id
    end
    part.bits = part.bits + bits_of_copy(copies[fields[i]])
end
for _, connection in ipairs(connections) do
    local part = parts[connection]
    bits = bits + part.bits
    redis.call('XADD', KEYS[3], '*', 'event', 'keys_delivered', 'role', 'slave', 'connection_id', connection,
        'sae_id', ARGV[1], 'key_ids', table.concat(part.delivered), 'bits', part.bits)
    if #part.consumed > 0 then
        redis.call('XADD', KEYS[3], '*', 'event', 'keys_consumed', 'connection_id', connection,
            'key_ids', table.concat(part.consumed))
    end
end
redis.call('HINCRBY', KEYS[2], 'stored', -bits)
redis.call('HINCRBY', KEYS[2], 'delivered', bits)
return answer
