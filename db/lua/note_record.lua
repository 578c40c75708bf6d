-- Postgres has acknowledged a mark of this store, and it was not behind it.
-- ARGV: store, count, the run of the server in which the mark was read and compared
-- In another run it is nothing: the server has started meanwhile, and what it holds may be an old copy.
local run = this_run()
if redis.call('HGET', 'witness', 'store') ~= ARGV[1] or run ~= ARGV[3] then
    return 0
end
local recorded = redis.call('HGET', 'witness', 'recorded')
if not recorded or tonumber(recorded) < tonumber(ARGV[2]) then
    redis.call('HSET', 'witness', 'recorded', ARGV[2])
end
if redis.call('HGET', 'witness', 'checked') ~= run then
    -- What is counted from here on, before a peer has confirmed, could make up for what a restored store lacks. That it
    -- starts once more meanwhile changes nothing.
    redis.call('HSET', 'witness', 'checked', run)
    redis.call('HSETNX', 'witness', 'alone_since', redis.call('HGET', 'witness', 'count') or 0)
end
return 1
