-- Begins an epoch: from now on nothing that was cut before is delivered or cut again, and `stale` says that it is to be
-- destroyed. Nothing where another epoch has begun meanwhile.
-- The audit trail's end that is remembered goes into the entry of the epoch: a database that was restored does not have it.
-- KEYS: audit, audit end
-- ARGV: the store's mark that is known ('' for none), the new one, the new epoch's number, why
-- Returns 1 where it has begun.
if (redis.call('HGET', 'witness', 'store') or '') ~= ARGV[1] then
    return 0
end
redis.call('HSET', 'witness', 'store', ARGV[2], 'epoch', ARGV[3], 'reason', ARGV[4])
redis.call('HDEL', 'witness', 'recorded', 'checked', 'alone_since')
count_act()
redis.call('DEL', 'bonds', 'confirmed')
local peers = redis.call('HGETALL', 'peers')
for i = 1, #peers, 2 do
    local _, store = mark_in(peers[i + 1])
    redis.call('HSET', 'bonds', bond_of(ARGV[2], store), peers[i])
end
redis.call('INCR', 'stale')
local number, chain = unpack(redis.call('HMGET', KEYS[2], 'number', 'hash'))
redis.call('DEL', KEYS[2])
redis.call('XADD', KEYS[1], '*', 'event', 'epoch_began', 'epoch', ARGV[3], 'reason', ARGV[4],
    'trail_number', number or 0, 'trail_chain', chain or '')
return 1
