-- Returns the store's own mark (epoch, store, count; '' where it has none), what Postgres has acknowledged of it or '',
-- '1' where Postgres was compared in this run of the server, why the epoch began, '1' where something is to be destroyed,
-- the count that peers are told or '', the run of the server,
-- then for each peer its KME id, epoch, store, count and '1' where it has confirmed in this run.
local run = this_run()
local epoch, store, count, recorded, checked, reason, alone_since =
    unpack(redis.call('HMGET', 'witness', 'epoch', 'store', 'count', 'recorded', 'checked', 'reason', 'alone_since'))
local found = {epoch or '', store or '', count or '', recorded or '', checked == run and '1' or '', reason or '',
    redis.call('EXISTS', 'stale') == 1 and '1' or '', alone_since or count or '', run}
local peers = redis.call('HGETALL', 'peers')
for i = 1, #peers, 2 do
    local of_epoch, of_store, of_count = mark_in(peers[i + 1])
    local is_open = store and bond_state(bond_of(store, of_store), run) == 'open'
    for _, value in ipairs({peers[i], tostring(of_epoch), of_store, string.format('%d', of_count), is_open and '1' or ''}) do
        found[#found + 1] = value
    end
end
return found
