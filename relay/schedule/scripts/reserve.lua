-- ARGV[5]     the group
-- ARGV[6]     the longest wait (ms) for which it is worth while
-- Takes one request out of the group's rate, as a lease does, for who has a lease already and makes more than one.
-- Returns ms until it may be made; when that is too long it is below 0, and nothing was taken.

local group, patience = ARGV[5], tonumber(ARGV[6])
local meta = meta_of(group)
local wait = meta.hold - now
if meta.interval > 0 then wait = math.max(wait, meta.tat - (meta.burst - 1) * meta.interval - now) end
wait = math.max(math.ceil(wait - 0.000001), 0)
if wait > patience then return -wait end
if meta.interval > 0 then
  call('HSET', key('meta', group), 'tat', math.max(meta.tat, now) + meta.interval)
  place(group)
  keep_state()
end
return wait
