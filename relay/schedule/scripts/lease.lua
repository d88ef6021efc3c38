-- ARGV[5] how many at most   ARGV[6] for how long (ms)   ARGV[7] at most this many of one group, 0: any
-- ARGV[8] '1': memos are deadlines (ms), and where a group has more due than may be leased, the earliest comes first
-- Returns: groups still ready, ms until something may be (-1: nothing known), now,
--          then group, id, fence, memo, version, due time of each lease.

local EXPIRED_GROUPS_MAX = 100 -- what is left over is found by the next call: no call may keep others waiting
local EXPIRED_IDS_MAX = 200
local RIPE_GROUPS_MAX = 500
local SERVED_AT_ONCE_MAX = 500 -- Lua unpacks an answer onto its stack, which is finite
local RANKED_AT_ONCE_MAX = 500
local RANK_ROUNDS_MAX = 4
local RANKS = 1e14 -- what is taken off a deadline to make a rank: it then stands before everything that is merely due
local NO_DEADLINE_MS = 30 * 86400000 -- what has none, or a dead one, gives way to what can still be saved for so long

local wanted, lease_ms, per_group = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local has_deadlines = ARGV[8] == '1'
local answer = {0, 0, 0} -- its head is filled in at the end

local function reclaim()
  for _, group in ipairs(call('ZRANGEBYSCORE', EXPIRY, '-inf', now, 'LIMIT', 0, EXPIRED_GROUPS_MAX)) do
    local gone = call('ZRANGEBYSCORE', key('running', group), '-inf', now, 'WITHSCORES', 'LIMIT', 0, EXPIRED_IDS_MAX)
    for i = 1, #gone, 2 do
      end_lease(group, gone[i])
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
    local due = tonumber(found[2 * i])
    answer[n + 4], answer[n + 5], answer[n + 6] = memos[i] or '', meta.version, due < 0 and now or due
  end
  due_count, leased_count = due_count - #ids, leased_count + #ids
  return #ids
end

-- Gives what has become due its rank. What is more than this in one visit is ranked by the next ones.
local function rank(group)
  local due = key('due', group)
  for _ = 1, RANK_ROUNDS_MAX do
    local found = call('ZRANGEBYSCORE', due, 0, now, 'WITHSCORES', 'LIMIT', 0, RANKED_AT_ONCE_MAX)
    if #found == 0 then return end
    local ids, ranks = {}, {}
    for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
    local memos = call('HMGET', key('memo', group), unpack(ids))
    for i, id in ipairs(ids) do
      local deadline = tonumber(memos[i] or '')
      if not deadline or deadline <= now then deadline = tonumber(found[2 * i]) + NO_DEADLINE_MS end
      ranks[2 * i - 1], ranks[2 * i] = deadline - RANKS, id
    end
    call('ZADD', due, unpack(ranks))
  end
end

-- Up to `room` due ids with their scores, the earliest deadline first; those that died in the queue come last.
local function earliest(group, room)
  local due = key('due', group)
  rank(group)
  local found = call('ZRANGEBYSCORE', due, now - RANKS, now, 'WITHSCORES', 'LIMIT', 0, room)
  if #found < 2 * room then
    local dead = string.format('(%.0f', now - RANKS)
    local rest = call('ZRANGEBYSCORE', due, '-inf', dead, 'WITHSCORES', 'LIMIT', 0, room - #found / 2)
    for _, part in ipairs(rest) do found[#found + 1] = part end
  end
  return found
end

-- Leases up to `most` of a group that is in the queue.
local function serve(group, meta, running, most)
  local room = room_of(meta, running, most)
  if room <= 0 then return 0 end
  local found
  if has_deadlines and call('ZCOUNT', key('due', group), '-inf', now) > room then
    found = earliest(group, room)
  else
    found = call('ZRANGEBYSCORE', key('due', group), '-inf', now, 'WITHSCORES', 'LIMIT', 0, room)
  end
  if #found == 0 then return 0 end
  local served = write_leases(group, meta, found)
  if meta.interval > 0 then
    meta.tat = math.max(meta.tat, now) + served * meta.interval
    call('HSET', key('meta', group), 'tat', meta.tat)
  end
  return served
end

-- What was served goes to the end of the queue if it has more to give, and out of it if not.
local function queue_again(group, meta, running)
  local at = ready_at(group, meta, running)
  if at and at <= now then
    call('ZADD', TURN, next_ticket(), group)
  else
    call('ZREM', TURN, group)
    if at then call('ZADD', LATER, at, group) end
  end
end

local function serve_all()
  local share = math.min(math.ceil(wanted / math.max(call('ZCARD', TURN), 1)), SERVED_AT_ONCE_MAX)
  local taken, left = {}, wanted
  repeat
    local served_before = left
    for _, group in ipairs(call('ZRANGE', TURN, 0, left - 1)) do
      local most = math.min(left, share)
      if per_group > 0 then most = math.min(most, per_group - (taken[group] or 0)) end
      local meta, running = meta_of(group), call('ZCARD', key('running', group))
      local served = serve(group, meta, running, most)
      taken[group] = (taken[group] or 0) + served
      left = left - served
      queue_again(group, meta, running + served)
      if left == 0 then return end
    end
  until left == served_before
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
