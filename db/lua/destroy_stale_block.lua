-- Destroys a block whose bond is over, with its cuts' markers. Its id stays known.
-- KEYS: block, cuts of the block, account, audit
-- Returns 1 where it has.
local bond, left = unpack(redis.call('HMGET', KEYS[1], 'bond', 'uncut_bits'))
if not left or bond_state(bond) ~= 'stale' then
    return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
count_act()
redis.call('HINCRBY', KEYS[3], 'remainder', -left)
redis.call('HINCRBY', KEYS[3], 'destroyed', left)
redis.call('XADD', KEYS[4], '*', 'event', 'block_closed', 'reason', 'epoch_over', 'block_id', string.sub(KEYS[1], 7), 'entry',
    'destroyed', 'bits', left)
return 1
