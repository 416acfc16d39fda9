-- For wrk: sends the requests of a file in turn, and ends with one line of JSON about the answers.
-- Arguments: the file, whose requests are each followed by a zero byte, and the number of wrk's threads.

local started = 0

function setup(thread)
  thread:set("number", started)
  started = started + 1
end

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local content, threads, position = file:read("*a"), tonumber(arguments[2]), 0
  file:close()
  requests, sent, refused = {}, 0, ""
  for text in content:gmatch("([^%z]+)%z") do  -- each thread takes requests of its own
    if position % threads == number then requests[#requests + 1] = text end
    position = position + 1
  end
end

function request()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "p50_s": %f, "p99_s": %f, "refused": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
