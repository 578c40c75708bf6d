-- What lets a script tell whether the store is the newest (docs/protocols.md, "The witness"). Put before those that need it.
-- `witness` hash: epoch, store, count, recorded (what Postgres has acknowledged), checked (the run of the server in which
-- Postgres was compared), alone_since (the count at that moment, until a peer has confirmed in this run), reason ·
-- `peers` hash: KME id → epoch, store and count that were last heard of it ·
-- `bonds` hash: bond → KME id · `confirmed` hash: bond → run of the server in which that KME has confirmed ·
-- `stale` counts the bonds that have ended; there as long as something of one may be left.

-- The run of the server, another after each start, comes behind what else a script is told: to ask `INFO` here would be a
-- fifth of a delivery. The caller was told it on the connection by which it calls, which outlasts no server.
local told_run = table.remove(ARGV)

-- Every cut, delivery and destruction is one.
local function count_act()
    redis.call('HINCRBY', 'witness', 'count', 1)
end

-- Another one after every start of the server: whatever it holds since then may be an old copy.
local function this_run()
    return told_run
end

-- Whether Postgres was compared in this run. Nothing is to count before: it could make up for what an old copy lacks.
local function is_checked(run)
    return redis.call('HGET', 'witness', 'checked') == run
end

-- Of two epochs, one of each KME: what was cut under a bond is good as long as both last.
local function bond_of(store, other)
    return string.sub(redis.sha1hex(store < other and store .. other or other .. store), 1, 16)
end

-- 'open', 'closed' (its KME has not confirmed in this run of the server) or 'stale' (one of its epochs is over).
local function bond_state(bond, run)
    if not bond or redis.call('HEXISTS', 'bonds', bond) == 0 then
        return 'stale'
    end
    return redis.call('HGET', 'confirmed', bond) == run and 'open' or 'closed'
end

-- An entitlement has the bond of its key behind the connection's id.
local function bond_in(entitled)
    return entitled and string.sub(entitled, 37, 52)
end

local function mark_in(text)
    if not text then
        return nil
    end
    local epoch, store, count = string.match(text, '^(%d+) (%x+) (%d+)$')
    return tonumber(epoch), store, tonumber(count)
end
