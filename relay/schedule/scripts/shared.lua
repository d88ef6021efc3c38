-- Stands before every script. What one shard of one station keeps in Redis (all times in ms):
--
--   due:<group>      zset  id -> when it is due
--   running:<group>  zset  id -> when its lease runs out
--   fence:<group>    hash  id -> the fence of its lease
--   again:<group>    hash  id -> when it is wanted again after its lease
--   memo:<group>     hash  id -> the caller's note
--   meta:<group>     hash  interval burst concurrency version hold tat allowance
--   turn             zset  group -> ticket: groups with something to lease now, first come first served
--   later            zset  group -> when it will have something to lease
--   expiry           zset  group -> no lease of this group runs out earlier (a lower bound, put right when it passes)
--   state            hash  now behind ticket due leased
--
-- `due` holds ranks too, all of them negative: see lease.lua.
--
-- An id is in `due` or in `running`, never in both. A group is in `turn`, in `later`, or in neither: then it has
-- nothing due, or all it may have at once is in flight and the next settle brings it back.
--
-- KEYS[1]     the shard; every key starts with it, and so has its hash tag
-- ARGV[1]     the time, or '' for the server's own
-- ARGV[2..4]  interval, burst and concurrency of a group that nobody has limited

local call = redis.call
local shard = KEYS[1]
local TURN, LATER, EXPIRY, STATE = shard .. ':turn', shard .. ':later', shard .. ':expiry', shard .. ':state'

local IDLE_MS = 1000            -- nobody waits longer than this without asking again, so no wake is owed beyond it
local LIMITS_KEPT_MS = 86400000 -- limits of a group with nothing to do
local MARGIN_MS = 60000         -- keys fade by the server's clock, which may differ from `now`

local state = call('HMGET', STATE, 'now', 'behind', 'ticket', 'due', 'leased')
for i = 1, 5 do state[i] = tonumber(state[i] or 0) end
local last, behind, ticket, due_count, leased_count = unpack(state)

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
now = now + behind
if now < last then -- the server's clock was set back: stand still once rather than let everything wait for it
  behind = behind + last - now
  now = last
end

local function key(kind, group)
  return shard .. ':' .. kind .. ':' .. group
end

local function first_of(zset)
  local first = call('ZRANGE', zset, 0, 0, 'WITHSCORES')
  return tonumber(first[2]), first[1]
end

-- Rises with every use and never repeats, not even after a flush: microseconds, or one more than the last.
local function next_ticket()
  ticket = math.max(ticket + 1, now * 1000)
  return string.format('%.0f', ticket)
end

local function meta_of(group)
  local meta =
    call('HMGET', key('meta', group), 'interval', 'burst', 'concurrency', 'version', 'hold', 'tat', 'allowance')
  local most = tonumber(meta[3] or ARGV[4])
  return {
    interval = tonumber(meta[1] or ARGV[2]),
    burst = tonumber(meta[2] or ARGV[3]),
    most = most,
    concurrency = math.min(most, tonumber(meta[7] or most)),
    version = meta[4] or '',
    hold = tonumber(meta[5] or 0),
    tat = tonumber(meta[6] or 0),
  }
end

-- How many leases the group may have now: GCRA (ITU-T I.371) beside leases in flight.
local function room_of(meta, running, wanted)
  local room = wanted
  if meta.concurrency > 0 then room = math.min(room, meta.concurrency - running) end
  if meta.interval > 0 then
    local used = math.max(meta.tat - now, 0) / meta.interval
    room = math.min(room, math.floor(meta.burst - used + 0.001)) -- the thousandth: doubles
  end
  return room
end

-- A group without work keeps what must outlive it: a hold, a rate not yet recovered, and for a day its limits.
local function retire(group, meta)
  local kept = math.max(meta.hold - now, meta.interval > 0 and meta.tat - now or 0)
  if meta.version ~= '' then kept = math.max(kept, LIMITS_KEPT_MS) end
  if kept > 0 then
    call('PEXPIRE', key('meta', group), math.ceil(kept) + MARGIN_MS)
  else
    call('DEL', key('meta', group))
  end
end

-- When the group may next be served: nil when it has nothing due, or all it may have at once is in flight.
local function ready_at(group, meta, running)
  local at = first_of(key('due', group))
  if not at and running == 0 then retire(group, meta) end
  if not at or (meta.concurrency > 0 and running >= meta.concurrency) then return nil end
  at = math.max(at, meta.hold)
  if meta.interval > 0 then at = math.max(at, math.ceil(meta.tat - (meta.burst - 1) * meta.interval - 0.000001)) end
  return at
end

-- Puts the group where it belongs. True when that is news to whoever sleeps: it has something now or soon.
local function place(group)
  local at = ready_at(group, meta_of(group), call('ZCARD', key('running', group)))
  if at and at <= now then
    call('ZREM', LATER, group)
    return call('ZADD', TURN, 'NX', next_ticket(), group) == 1
  end
  call('ZREM', TURN, group)
  if not at then
    call('ZREM', LATER, group)
    return false
  end
  local before = at < now + IDLE_MS and (tonumber(call('ZSCORE', LATER, group)) or math.huge)
  call('ZADD', LATER, at, group)
  return before and at < before
end

-- Returns when the id is wanted again, if it is.
local function end_lease(group, id)
  local again = tonumber(call('HGET', key('again', group), id))
  call('ZREM', key('running', group), id)
  call('HDEL', key('fence', group), id)
  if again then call('HDEL', key('again', group), id) end
  leased_count = leased_count - 1
  return again
end

local function mind_expiry(group)
  local at = first_of(key('running', group))
  if at then call('ZADD', EXPIRY, at, group) else call('ZREM', EXPIRY, group) end
end

-- A full server refuses a script that would write, unless it has taken something away before. Asking for work must
-- not fail for that, so this is only tried; whoever changed a count has taken something away.
local function keep_state()
  redis.pcall('HSET', STATE, 'now', now, 'behind', behind, 'ticket', string.format('%.0f', ticket),
    'due', due_count, 'leased', leased_count)
end
