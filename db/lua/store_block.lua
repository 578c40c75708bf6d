-- Takes a block in, once: an id that was here before, and may have been cut and closed since, is never stored again.
-- KEYS: block, blocks known, account, audit
-- ARGV: block id (16 bytes), wrapped bits, length_bits, link, owner, KME at the link's other end
-- Returns 1 where it is new, 0 where it is not; 'closed' where the other end has not confirmed the witness yet.
local own = redis.call('HGET', 'witness', 'store')
local _, store = mark_in(redis.call('HGET', 'peers', ARGV[6]))
local bond = own and store and bond_of(own, store)
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 and bond_state(bond, this_run()) ~= 'open' then
    return 'closed'
end
if redis.call('SADD', KEYS[2], ARGV[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], 'bits', ARGV[2], 'version', 0, 'uncut_bits', ARGV[3], 'bond', bond)
count_act()
redis.call('HINCRBY', KEYS[3], 'received', ARGV[3])
redis.call('HINCRBY', KEYS[3], 'remainder', ARGV[3])
redis.call('XADD', KEYS[4], '*', 'event', 'block_received', 'block_id', ARGV[1], 'link', ARGV[4], 'owner', ARGV[5],
    'bits', ARGV[3])
return 1
