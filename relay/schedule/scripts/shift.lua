-- ARGV[5]     '1': one that is due later stays so; '0': every due time is replaced
-- ARGV[6]     the channel that wakes sleepers
-- ARGV[7..]   group, id, delay, memo ('': the memo stands) of each item
-- Returns the places (from 0) of those that do not wait: leased by somebody, or not known.

local only_later = ARGV[5] == '1'
local touched, seen, others = {}, {}, {}

call('PERSIST', STATE) -- changes nothing, but lets a full server take what makes it no fuller

for i = 7, #ARGV, 4 do
  local group, id, at, memo = ARGV[i], ARGV[i + 1], now + tonumber(ARGV[i + 2]), ARGV[i + 3]
  local before = tonumber(call('ZSCORE', key('due', group), id))
  if before then
    if not only_later or before < at then call('ZADD', key('due', group), at, id) end
    if memo ~= '' then call('HSET', key('memo', group), id, memo) end
    if not seen[group] then
      seen[group] = true
      touched[#touched + 1] = group
    end
  else
    others[#others + 1] = (i - 7) / 4
  end
end

local news = false
for _, group in ipairs(touched) do
  if place(group) then news = true end
end
if news then call('PUBLISH', ARGV[6], '') end
keep_state()
return others
