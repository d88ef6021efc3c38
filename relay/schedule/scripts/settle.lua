-- ARGV[5..]   group, id, fence, delay ('': done), memo ('': it stands, else '=' and the new one) of each outcome
-- Returns how many took effect: a lease that another holds by now is left alone.

local touched = {}
local seen = {}
local effective = 0

for i = 5, #ARGV, 5 do
  local group, id, fence, delay, memo = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  if call('HGET', key('fence', group), id) == fence then
    local again = tonumber(call('HGET', key('again', group), id))
    local at = again
    if delay ~= '' then at = math.min(now + tonumber(delay), again or math.huge) end
    forget_lease(group, id)
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
    if not seen[group] then
      seen[group] = true
      touched[#touched + 1] = group
    end
  end
end

for _, group in ipairs(touched) do
  if call('EXISTS', key('running', group)) == 0 then call('ZREM', EXPIRY, group) end
  place(group)
end
keep_state()
return effective
