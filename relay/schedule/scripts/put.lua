-- ARGV[5]     '1': an earlier due time stands; '0': this one replaces it; 'join': as '1', and a lease is left alone
-- ARGV[6]     the channel that wakes sleepers
-- ARGV[7..]   group, id, delay, memo ('': the memo stands) of each item

local sooner, joins = ARGV[5] ~= '0', ARGV[5] == 'join'
local touched = {}
local seen = {}

local function moves(before, at)
  return not before or not sooner or at < tonumber(before)
end

call('HSET', STATE, 'now', now) -- the first write decides whether a full server lets the script run: this one may not

for i = 7, #ARGV, 4 do
  local group, id, at, memo = ARGV[i], ARGV[i + 1], now + tonumber(ARGV[i + 2]), ARGV[i + 3]
  if not seen[group] then
    seen[group] = true
    touched[#touched + 1] = group
    call('PERSIST', key('meta', group))
  end
  if call('ZSCORE', key('running', group), id) then
    if not joins and moves(call('HGET', key('again', group), id), at) then call('HSET', key('again', group), id, at) end
  else
    local before = call('ZSCORE', key('due', group), id)
    if moves(before, at) then call('ZADD', key('due', group), at, id) end
    if not before then due_count = due_count + 1 end
  end
  if memo ~= '' then call('HSET', key('memo', group), id, memo) end
end

local news = false
for _, group in ipairs(touched) do
  if place(group) then news = true end
end
if news then call('PUBLISH', ARGV[6], '') end
keep_state()
return #touched
