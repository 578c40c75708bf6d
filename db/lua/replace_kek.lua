-- For a store that was restored from before a rotation of the key-encryption key: that is destroyed, and nobody can read
-- what is wrapped under it. Another takes its place, and the store's mark goes, so that the witness begins an epoch,
-- which destroys what is here: one step, so that nothing new comes to lie beside it.
-- KEYS: kek, retired keks, audit
-- ARGV: fingerprint of the destroyed one, of the one that takes its place
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
local function hex(octets)
    return (string.gsub(octets, '.', function(c) return string.format('%02x', string.byte(c)) end))
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2], 'bonds', 'confirmed')
redis.call('HDEL', 'witness', 'store', 'recorded', 'checked', 'alone_since')
redis.call('HSET', 'witness', 'reason', 'the key store (Redis) was restored from before a rotation of its key-encryption key')
count_act()
redis.call('XADD', KEYS[3], '*', 'event', 'kek_replaced', 'kek', hex(ARGV[2]), 'former', hex(ARGV[1]))
return 1
