-- The mark of a peer's store was heard. A new epoch of it ends the bond of the one before at once; what was cut under that
-- is destroyed later. What is behind the mark that was heard last changes nothing.
-- KEYS: audit
-- ARGV: KME id, epoch, store, count; the store of this site that it has confirmed, or ''
-- Returns {'ok' or 'behind', then epoch, store and count heard last}; {'none'} where this store has no epoch yet.
local own = redis.call('HGET', 'witness', 'store')
if not own then
    return {'none'}
end
local epoch, store, count = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local last_epoch, last_store, last_count = mark_in(redis.call('HGET', 'peers', ARGV[1]))
if last_epoch and (epoch < last_epoch or epoch == last_epoch and (store ~= last_store or count < last_count)) then
    return {'behind', tostring(last_epoch), last_store, string.format('%d', last_count)}
end
if store ~= last_store or count ~= last_count then
    redis.call('HSET', 'peers', ARGV[1], string.format('%d %s %d', epoch, store, count))
end
local bond = bond_of(own, store)
if store ~= last_store then
    if last_store then
        local ended = bond_of(own, last_store)
        redis.call('HDEL', 'bonds', ended)
        redis.call('HDEL', 'confirmed', ended)
        redis.call('INCR', 'stale')
    end
    redis.call('HSET', 'bonds', bond, ARGV[1])
    redis.call('XADD', KEYS[1], '*', 'event', 'peer_epoch_began', 'peer', ARGV[1], 'epoch', ARGV[2])
end
if ARGV[5] == own then
    local run = this_run()
    if redis.call('HGET', 'witness', 'checked') == run and redis.call('HGET', 'confirmed', bond) ~= run then
        redis.call('HSET', 'confirmed', bond, run)
        redis.call('HDEL', 'witness', 'alone_since')
    end
end
return {'ok', ARGV[2], store, ARGV[4]}
