-- ARGV[5] how many at most   ARGV[6] for how long (ms)   ARGV[7] at most this many of one group, 0: any
-- Returns: groups still ready, ms until something may be (-1: nothing known), now,
--          then group, id, fence, memo, version, due time of each lease.

local EXPIRED_GROUPS_MAX = 100 -- what is left over is found by the next call: no call may keep others waiting
local EXPIRED_IDS_MAX = 200
local RIPE_GROUPS_MAX = 500
local SERVED_AT_ONCE_MAX = 500 -- Lua unpacks an answer onto its stack, which is finite

local wanted, lease_ms, per_group = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local answer = {0, 0, 0} -- its head is filled in at the end

local function reclaim()
  for _, group in ipairs(call('ZRANGEBYSCORE', EXPIRY, '-inf', now, 'LIMIT', 0, EXPIRED_GROUPS_MAX)) do
    local gone = call('ZRANGEBYSCORE', key('running', group), '-inf', now, 'WITHSCORES', 'LIMIT', 0, EXPIRED_IDS_MAX)
    for i = 1, #gone, 2 do
      forget_lease(group, gone[i])
      call('ZADD', key('due', group), gone[i + 1], gone[i])
      due_count = due_count + 1
    end
    mind_expiry(group)
    place(group)
  end
end

local function queue_ripe()
  for _, group in ipairs(call('ZRANGEBYSCORE', LATER, '-inf', now, 'LIMIT', 0, RIPE_GROUPS_MAX)) do place(group) end
end

local function write_leases(group, meta, found)
  local running, fences, ids = {}, {}, {}
  local expires = now + lease_ms
  for i = 1, #found, 2 do
    local id, fence = found[i], next_ticket()
    ids[#ids + 1] = id
    running[#running + 1] = expires
    running[#running + 1] = id
    fences[#fences + 1] = id
    fences[#fences + 1] = fence
  end
  local memos = call('HMGET', key('memo', group), unpack(ids))
  call('ZREM', key('due', group), unpack(ids))
  call('ZADD', key('running', group), unpack(running))
  call('HSET', key('fence', group), unpack(fences))
  local bound = tonumber(call('ZSCORE', EXPIRY, group))
  if not bound or expires < bound then call('ZADD', EXPIRY, expires, group) end
  for i, id in ipairs(ids) do
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3] = group, id, fences[2 * i]
    answer[n + 4], answer[n + 5], answer[n + 6] = memos[i] or '', meta.version, found[2 * i]
  end
  due_count, leased_count = due_count - #ids, leased_count + #ids
  return #ids
end

-- Leases up to `most` of the group; it then stands at the end of the queue, if it has any more to give.
local function serve(group, most)
  local meta = meta_of(group)
  local room = 0
  if meta.hold <= now then room = room_of(meta, call('ZCARD', key('running', group)), most) end
  local served = 0
  if room > 0 then
    local found = call('ZRANGEBYSCORE', key('due', group), '-inf', now, 'WITHSCORES', 'LIMIT', 0, room)
    if #found > 0 then served = write_leases(group, meta, found) end
  end
  if served > 0 and meta.interval > 0 then
    meta.tat = math.max(meta.tat, now) + served * meta.interval
    call('HSET', key('meta', group), 'tat', meta.tat)
  end
  call('ZREM', TURN, group)
  return served, meta
end

local function serve_all()
  local share = math.min(math.ceil(wanted / math.max(call('ZCARD', TURN), 1)), SERVED_AT_ONCE_MAX)
  local taken, aside = {}, {}
  local left, visits_left = wanted, wanted * 2 + 50 -- a visit to a group that has just lost its readiness brings nothing
  while left > 0 and visits_left > 0 do
    local _, group = first_of(TURN)
    if not group then break end
    local most = math.min(left, share)
    if per_group > 0 then most = math.min(most, per_group - (taken[group] or 0)) end
    local served, meta = serve(group, most)
    taken[group] = (taken[group] or 0) + served
    left, visits_left = left - served, visits_left - 1
    if per_group > 0 and taken[group] >= per_group then aside[#aside + 1] = group else place(group, meta) end
  end
  for _, group in ipairs(aside) do place(group) end
end

reclaim()
queue_ripe()
if wanted > 0 then serve_all() end
keep_state()

local ready = call('ZCARD', TURN)
local next_at = first_of(LATER)
local expires_at = first_of(EXPIRY)
if not next_at or (expires_at and expires_at < next_at) then next_at = expires_at end
local wait = -1
if ready > 0 then wait = 0 elseif next_at then wait = math.max(math.ceil(next_at - now), 0) end
answer[1], answer[2], answer[3] = ready, wait, now
return answer
