-- ARGV[5..]   group, id, fence, delay ('': done), memo ('': it stands, else '=' and the new one),
--             share ('+': one more at once, '-': half as many, '': as many as before) of each outcome
-- Returns how many took effect: a lease that another holds by now is left alone.

local touched = {}
local shares = {}
local seen = {}
local effective = 0

local function divide(group, sign)
  local share = shares[group]
  if not share then
    local meta = meta_of(group)
    share = {before = meta.concurrency, after = meta.concurrency, most = meta.most, is_held = meta.hold > now}
    shares[group] = share
  end
  if sign == '+' then -- of a group on hold it says how things were before
    if not share.is_held then share.after = math.min(share.after + 1, share.most) end
  else
    share.after = math.max(math.floor(share.after / 2), math.min(share.after, 1))
  end
end

for i = 5, #ARGV, 6 do
  local group, id, fence, delay, memo = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if call('HGET', key('fence', group), id) == fence then
    local at = end_lease(group, id)
    if delay ~= '' then at = math.min(now + tonumber(delay), at or math.huge) end
    if at then
      call('ZADD', key('due', group), at, id)
      due_count = due_count + 1
      if memo == '=' then
        call('HDEL', key('memo', group), id)
      elseif memo ~= '' then
        call('HSET', key('memo', group), id, string.sub(memo, 2))
      end
    else
      call('HDEL', key('memo', group), id)
    end
    effective = effective + 1
    if ARGV[i + 5] ~= '' then divide(group, ARGV[i + 5]) end
    if not seen[group] then
      seen[group] = true
      touched[#touched + 1] = group
    end
  end
end

for group, share in pairs(shares) do
  if share.after ~= share.before then call('HSET', key('meta', group), 'allowance', share.after) end
end
for _, group in ipairs(touched) do
  if call('EXISTS', key('running', group)) == 0 then call('ZREM', EXPIRY, group) end
  place(group)
end
keep_state()
return effective
