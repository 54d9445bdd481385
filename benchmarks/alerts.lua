-- wrk script: every request is an alert of its own, over so many symbols.
--
-- Arguments after `--`: path, run (makes ids unique), secret, symbols n.
-- Requests are put together by hand, each of the same length: wrk.format would cost more than the send.

local head, middle, tail, symbols, count

function init(args)
  local path, run, secret = args[1], args[2], args[3]
  symbols, count = tonumber(args[4]), 0
  local body_head = '{"secret":"' .. secret .. '","id":"bench-' .. run .. '-'
  middle = '","symbol":"'
  tail = '","action":"buy","quantity":"0.5","price":"64250.5"}'
  local length = #body_head + 9 + #middle + 8 + #tail
  head = 'POST ' .. path .. ' HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: '
    .. length .. '\r\n\r\n' .. body_head
end

function request()
  count = count + 1
  return string.format('%s%09d%sSYM%05d%s', head, count, middle, count % symbols, tail)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"failures":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
