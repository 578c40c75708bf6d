-- Takes a block in, once: an id that was here before, and may have been cut and closed since, is never stored again.
-- KEYS: block, blocks known, account, audit, byte counts
-- ARGV: block id (16 bytes), wrapped bits, length_bits, link, owner, wrapped byte counts with this block's in them, the
--       version they were computed from, KME at the link's other end
-- Returns 'done', 'again' where it is not new, or why nothing was changed: 'closed' (the other end has not confirmed the
-- witness yet), 'rekeyed' (what is wrapped is not under the current KEK), 'raced' (another block was counted meanwhile:
-- compute anew).
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then
    return 'again'
end
local own = redis.call('HGET', 'witness', 'store')
local _, store = mark_in(redis.call('HGET', 'peers', ARGV[8]))
local bond = own and store and bond_of(own, store)
if bond_state(bond, this_run()) ~= 'open' then
    return 'closed'
end
local kek = redis.call('GET', 'kek')
if kek and (string.sub(ARGV[2], 1, #kek) ~= kek or string.sub(ARGV[6], 1, #kek) ~= kek) then
    return 'rekeyed'
end
local version = redis.call('HGET', KEYS[5], 'version') or '0'
if version ~= ARGV[7] then
    return 'raced'
end
count_act()
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[5], 'counts', ARGV[6], 'version', version + 1)
redis.call('HSET', KEYS[1], 'bits', ARGV[2], 'version', 0, 'uncut_bits', ARGV[3], 'bond', bond)
redis.call('HINCRBY', KEYS[3], 'received', ARGV[3])
redis.call('HINCRBY', KEYS[3], 'remainder', ARGV[3])
redis.call('XADD', KEYS[4], '*', 'event', 'block_received', 'block_id', ARGV[1], 'link', ARGV[4], 'owner', ARGV[5],
    'bits', ARGV[3])
return 'done'
