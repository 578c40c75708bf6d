-- Destroys what is left of a block, and its cuts' markers with it. The id stays known, so that a late hand-off finds it shut.
-- KEYS: block, cuts of the block, blocks known, account, audit
-- ARGV: block id (16 bytes), entry of the account the rest goes to ('burned' or 'destroyed')
-- Returns the number of bits that were left; 'unchecked' where the store was not compared yet since it started.
local left = redis.call('HGET', KEYS[1], 'uncut_bits')
if left and not is_checked(this_run()) then
    return 'unchecked'
end
redis.call('SADD', KEYS[3], ARGV[1])
if not left then
    return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
count_act()
redis.call('HINCRBY', KEYS[4], 'remainder', -left)
redis.call('HINCRBY', KEYS[4], ARGV[2], left)
redis.call('XADD', KEYS[5], '*', 'event', 'block_closed', 'block_id', ARGV[1], 'entry', ARGV[2], 'bits', left)
return tonumber(left)
