-- One request of an allowance (GCRA). KEYS[1]: its key; ARGV: milliseconds between requests, burst.
-- Gives whether it is allowed, how many more would be at once, and in how many milliseconds the next one is.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local ahead = arrival + interval - now
local room = burst * interval
if ahead > room then
  return {0, 0, math.ceil(ahead - room)}
end
redis.call('SET', KEYS[1], string.format('%.3f', arrival + interval), 'PX', math.ceil(ahead) + 1000)
return {1, math.floor((room - ahead) / interval), math.ceil(ahead)}
