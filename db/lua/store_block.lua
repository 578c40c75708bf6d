-- Takes a block in, once: an id that was here before, and may have been cut and closed since, is never stored again.
-- KEYS: block, blocks known, account, audit
-- ARGV: block id (16 bytes), wrapped bits, length_bits, link, owner
-- Returns 'done', 'again', or 'rekeyed' where the bits are not wrapped under the current KEK.
local kek = redis.call('GET', 'kek')
if kek and string.sub(ARGV[2], 1, #kek) ~= kek then
    return 'rekeyed'
end
if redis.call('SADD', KEYS[2], ARGV[1]) == 0 then
    return 'again'
end
redis.call('HSET', KEYS[1], 'bits', ARGV[2], 'version', 0, 'uncut_bits', ARGV[3])
redis.call('HINCRBY', KEYS[3], 'received', ARGV[3])
redis.call('HINCRBY', KEYS[3], 'remainder', ARGV[3])
redis.call('XADD', KEYS[4], '*', 'event', 'block_received', 'block_id', ARGV[1], 'link', ARGV[4], 'owner', ARGV[5],
    'bits', ARGV[3])
return 'done'
