-- A recipient fetches its copies of keys by their ids: all of them, or none and nothing is consumed (ETSI GS QKD 014
-- table 7, clause 6.4). Other recipients' copies stay. Which connection's store a copy is in, its entitlement tells.
-- KEYS: entitlement, account, audit
-- ARGV: caller, master SAE of the path, time of a test or '', then the key ids
-- Returns {'ok', connection and wrapped key of each in the order asked}; or {'not_entitled' or 'not_found', how many of
-- the keys are, or were, for the caller}; or {'closed', KME id} where one waits for that KME's confirmation of the witness.
-- A key of an epoch that is over is not found. {'unchecked'} where one is not here, and Postgres was not compared yet
-- since the server started: this may be another store.
local caller, master = '\0' .. ARGV[1] .. '\0', '\n' .. ARGV[2]
local known, mine, strange, closed = {}, 0, false, nil
local run = this_run()
local _, now = site_clocks(ARGV[3])
for i = 4, #ARGV do
    local entitled = redis.call('HGET', KEYS[1], ARGV[i])
    if entitled then
        -- connection id (36 characters) \0 recipient \0 ... recipient \0 \n master; SAE ids have only printable ones
        if string.find(entitled, caller, 37, true) then
            mine = mine + 1
            if string.sub(entitled, -#master) == master then
                local bond = bond_in(entitled)
                local state = bond_state(bond, run)
                known[i] = state == 'open' and string.sub(entitled, 1, 36) or nil
                closed = closed or state == 'closed' and bond
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
local answer = {'ok'}
for i = 4, #ARGV do
    local store = known[i] and 'copies:' .. known[i]
    local copy = store and redis.call('HGET', store, ARGV[i] .. ARGV[1])
    local ends = copy and redis.call('ZSCORE', 'ends:copies', ARGV[i] .. store .. '|' .. ARGV[1])
    if not copy or tonumber(ends or 0) <= now then
        if redis.call('HGET', 'witness', 'checked') ~= run then
            return {'unchecked'}
        end
        return {'not_found', mine}
    end
    answer[#answer + 1] = known[i]
    answer[#answer + 1] = string.sub(copy, 14)
end
count_act()
-- An entry of the audit trail is of one connection; additional slaves may fetch keys of several at once.
local bits, connections, parts = 0, {}, {}
for i = 4, #ARGV do
    local part = parts[known[i]]
    if not part then
        part = {bits = 0, delivered = {}, consumed = {}}
        parts[known[i]] = part
        connections[#connections + 1] = known[i]
    end
    local store = 'copies:' .. known[i]
    redis.call('HDEL', store, ARGV[i] .. ARGV[1])
    redis.call('ZREM', 'ends:copies', ARGV[i] .. store .. '|' .. ARGV[1])
    local left = false
    for recipient in string.gmatch(redis.call('HGET', KEYS[1], ARGV[i]), '%z([^%z\n]+)') do
        left = left or redis.call('HEXISTS', store, ARGV[i] .. recipient) == 1
    end
    part.delivered[#part.delivered + 1] = ARGV[i]
    if not left then
        part.consumed[#part.consumed + 1] = ARGV[i]
    end
    -- What is around a wrapped key is 4 bytes of fingerprint, 12 of nonce and 16 of tag (kme/keywrap.py).
    part.bits = part.bits + 8 * (#answer[2 * (i - 3) + 1] - 32)
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
