-- ARGV: the token that was seen before what was stale then was destroyed
if redis.call('GET', 'stale') == ARGV[1] then
    redis.call('DEL', 'stale')
end
