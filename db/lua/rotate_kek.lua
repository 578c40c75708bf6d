-- Makes another key-encryption key the current one, or drops those of which nothing is left: with its entry in the audit
-- trail. From the first on, cut.lua and store_block.lua take nothing that is wrapped under another.
-- KEYS: kek, retired keks, count of what was wrapped anew, audit
-- ARGV: fingerprint of the current one, of the next one, or '' to drop those that follow; then those
-- Returns 'done', or 'raced' where the current one is another, or one that is to be dropped is not retired.
local function hex(octets)
    return (string.gsub(octets, '.', function(c) return string.format('%02x', string.byte(c)) end))
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'raced'
end
if ARGV[2] ~= '' then
    redis.call('SET', KEYS[1], ARGV[2])
    redis.call('SADD', KEYS[2], ARGV[1])
    redis.call('SET', KEYS[3], 0)
    count_act()
    redis.call('XADD', KEYS[4], '*', 'event', 'kek_rotated', 'kek', hex(ARGV[2]), 'former', hex(ARGV[1]))
    return 'done'
end
for i = 3, #ARGV do
    if redis.call('SISMEMBER', KEYS[2], ARGV[i]) == 0 then
        return 'raced'
    end
end
count_act()
for i = 3, #ARGV do
    redis.call('SREM', KEYS[2], ARGV[i])
    redis.call('XADD', KEYS[4], '*', 'event', 'kek_destroyed', 'kek', hex(ARGV[i]), 'rewrapped_count',
        redis.call('GET', KEYS[3]) or 0)
end
return 'done'
