---@meta evserve
--- Annotations of the Lua API for LuaLS (lua-language-server), which finds them through .luarc.json. This file never
--- runs. lua/README.md is the reference; a test checks that this file names the functions and settings that exist.

---@class evserve
local app = {}

--- A whole number of milliseconds, or text with a unit: "500ms", "30s", "2m", "1h".
---@alias evserve.Duration integer|string

--- A number of bytes, or text with a unit: "64K", "1M", "1G".
---@alias evserve.Size integer|string

--- Any token except CONNECT. In a route, "*" stands for every method.
---@alias evserve.Method "GET"|"HEAD"|"POST"|"PUT"|"PATCH"|"DELETE"|"OPTIONS"|"*"|string

--- Maps a name to a value, or to a list of values, each of which becomes its own field line.
---@alias evserve.Headers table<string, string|number|(string|number)[]>

--- text/plain, JSON, a stream, a response object, or nothing (204).
---@alias evserve.Body string|table|fun(out: evserve.Stream)|evserve.Response|nil

--- Returns [status,] body [, headers].
---@alias evserve.Handler fun(req: evserve.Request): (integer|evserve.Body), (evserve.Body|evserve.Headers)?, evserve.Headers?

---@class evserve.Tls
---@field version string "TLSv1.3"
---@field cipher string "TLS_AES_128_GCM_SHA256"
---@field sni string? the server name that the client asked for
---@field alpn string? "http/1.1" or "http/1.0"; nil if the client offered no protocol
---@field resumed boolean whether the session of an earlier connection goes on
---@field client evserve.TlsClient? the client's certificate, if it has presented one

---@class evserve.TlsClient
---@field subject string "CN=alice,O=Example"
---@field fingerprint string SHA-256 of the certificate, in hexadecimal

---@class evserve.TlsOptions
---@field cert string? the certificate, followed by the intermediate ones: a file in PEM, or PEM text
---@field key string? its private key, likewise; default: in cert
---@field name string? the server name it is for, "*.example.org" for example; default: the names in the certificate
---@field client_ca string? certificates of authorities that clients' certificates may be signed by, likewise
---@field client "required"|"optional"|nil whether a client must present a certificate; default "required", with client_ca
---@field min_version "1.2"|"1.3"|nil for all certificates; default "1.2"
---@field ciphers string? of TLS 1.2, for all certificates
---@field groups string? for key exchange, for all certificates

---@class evserve.ProxyOptions: evserve.RouteOptions
---@field connect_timeout? evserve.Duration for the connection to an upstream, TLS included; default 5 s
---@field timeout? evserve.Duration until a response begins, and between two pieces of it; default 60 s
---@field tunnel_timeout? evserve.Duration how long a WebSocket may be silent in both directions
---@field host? string the Host field for upstreams; "upstream": that of its URL; default: the client's
---@field headers? table<string, string|false> fields of the request that are set, or removed
---@field strip_prefix? boolean the upstream sees the path without the prefix
---@field middleware? false confirms that no middleware runs for these requests
---@field keepalive? integer|false idle connections that each thread keeps to an upstream; default 64
---@field tries? integer upstreams that a request is sent to at most; default: all
---@field max_fails? integer failures in a row after which an upstream gets no requests for fail_timeout; default 1
---@field fail_timeout? evserve.Duration default 10 s
---@field verify? boolean false: the upstream's certificate is not looked at
---@field ca? string a file with the certificates of authorities to trust, in place of the system's
---@field client_cert? { cert: string, key?: string } files with our certificate and its key
---@field server_name? string whose certificate it must be; default: the host of the URL

---@class evserve.Proxy
---@field address string of the proxy itself: "10.0.0.2:40312"
---@field server string what the client has connected with: "198.51.100.2:443"
---@field unique_id? string the proxy's id of the connection, any bytes
---@field authority? string the host that the client asked the proxy for
---@field alpn? string what they have agreed on: "http/1.1"
---@field tls? { version: string?, cipher: string?, client: string? } if the client uses TLS with the proxy; client is the common name of a certificate that the proxy has verified

---@class evserve.Request
---@field method evserve.Method
---@field path string the decoded and normalised path
---@field target string the request target as the client sent it
---@field params table<string, any> parameters of the path, decoded: text, or numbers for {int} with numbers = true
---@field query table<string, string> decoded; the first value of a repeated name
---@field headers table<string, string> names are case-insensitive; repeated fields are joined; for a target in absolute-form, host is its authority
---@field cookies table<string, string> values as sent; the first value of a repeated name
---@field body string the whole body, or "" if there is none; waits until it has arrived
---@field peer string the address of the client's socket, or that of the proxy in front: "127.0.0.1:40312"
---@field client string the client's address, which a trusted proxy may have told: "203.0.113.7"
---@field host string? the host that the client asked for, in lower case: "example.org:8443"
---@field user any the name that app.basic_auth has accepted, or what middleware has put there
---@field scheme "http"|"https"
---@field tls evserve.Tls? what TLS has agreed on; nil for a connection without TLS
---@field proxy evserve.Proxy? what a proxy has said in the header of the PROXY protocol; nil without one
---@field id string unique to this request; log it and show it to the client
---@field session table with app.session: what the server knows of the browser; assign a new table, or nil, to start a new one
---@field [string] any other names are the script's own
local request = {}

--- The values of all header fields with this name, joined; nil if there are none. The name is case-insensitive.
---@param name string
---@return string?
function request:header(name) end

--- All values of one name in the query, decoded.
---@param name string
---@return string[]
function request:query_all(name) end

--- The query with names such as filter[tag][] as tables in each other. Raises a 400 for names that do not fit together.
---@return table
function request:query_nested() end

--- The body as it arrives, in pieces of at most 64 KiB: for chunk in req:chunks() do ... end. Waits for each piece.
---@return fun(): string?
function request:chunks() end

--- The decoded JSON body. Raises a 400 if it is malformed and a 415 if its Content-Type is not JSON; see app.error.
---@return any
function request:json() end

--- The fields of a form, urlencoded or multipart; the first value of a repeated name. Files are strings, too.
---@return table<string, string>
function request:form() end

--- All values of one name in a form.
---@param name string
---@return string[]
function request:form_all(name) end

--- The form with names such as lines[][id] as tables in each other. Raises a 400 for names that do not fit together.
---@return table
function request:form_nested() end

--- The parts of a multipart form as they arrive: for part in req:parts() do ... end. Waits for each part.
---@return fun(): evserve.Part?
function request:parts() end

--- With app.session: a token for the field "csrf" of a form, or for the header X-CSRF-Token.
---@return string
function request:csrf() end

--- With app.session: keep a message for the next page. The kind is "info" unless two texts are given.
---@param kind string
---@param text string?
function request:flash(kind, text) end

--- With app.session: the kinds and texts of the messages, which are gone then: for kind, text in req:flashes() do ... end.
---@return fun(): string?, string?
function request:flashes() end

---@class evserve.Part
---@field name string
---@field filename string? nil if the part is not a file; chosen by the client, so never use it as a path
---@field type string? its Content-Type
---@field headers table<string, string> names are case-insensitive
local part = {}

--- The content as it arrives, in pieces of at most 64 KiB. Waits for each piece.
---@return fun(): string?
function part:chunks() end

--- The whole content.
---@return string
function part:text() end

---@class evserve.Response
---@field status integer? nil for app.file and app.pass: the file determines it
---@field headers evserve.Headers names are case-insensitive
---@field body evserve.Body nil for app.file and app.pass; a body that you set replaces the file
---@field compress boolean? false: it is not compressed
---@field error string? what went wrong, if it is in place of the response of a handler
local response = {}

--- Add a Set-Cookie line to the response.
---@param name string
---@param value string|number
---@param attributes evserve.CookieAttributes?
---@return evserve.Response itself
function response:set_cookie(name, value, attributes) end

---@class evserve.Stream
local stream = {}

--- Send text. Waits if the client is falling behind; each call counts as a wait for handler_cpu. Once the client has gone,
--- it returns nil, "closed"; another call ends the stream.
---@param ... string|number
---@return true?
---@return "closed"?
function stream:write(...) end

--- A stream of Server-Sent Events.
---@class evserve.Events
---@field last_id? string the id of the last event that the client has received: Last-Event-ID, or lastEventId in the query
local events = {}

---@class evserve.Event
---@field data? string|number|boolean|table any text; what is no string is sent as JSON
---@field event? string the name for addEventListener; without it, browsers call onmessage
---@field id? string|number what the client sends as Last-Event-ID when it comes back
---@field retry? evserve.Duration how long the client waits before it connects again

--- Send an event. Waits if the client is falling behind. Returns nil, "closed" once the client has gone; and nil,
--- "stopping" when the script ends: the event is sent, and the stream should end.
---@param event string|number|evserve.Event
---@return true?
---@return "closed"|"stopping"?
function events:send(event) end

--- Send a comment, which clients ignore.
---@param text string?
---@return true?
---@return "closed"|"stopping"?
function events:comment(text) end

---@class evserve.EventsOptions
---@field heartbeat? evserve.Duration|false time between two comments that keep the connection alive; default 15 s
---@field retry? evserve.Duration how long the client waits before it connects again

--- A WebSocket. It also has the fields of its request, and those that middleware has put there.
---@class evserve.WebSocket
---@field code? integer once it is closed: the code of the client; 1005: it gave none; 1006: the connection was lost
---@field reason? string once it is closed: the reason that the client gave
---@field subprotocol? string that was agreed on
---@field method string
---@field path string
---@field target string
---@field id string
---@field scheme string
---@field peer string
---@field client string
---@field host string?
---@field params table<string, string>
---@field query table<string, string>
---@field headers evserve.Headers
---@field cookies table<string, string>
---@field tls? evserve.Tls
---@field [string] any
local ws = {}

--- Iterate over the messages, until it is closed.
---@return fun(ws: evserve.WebSocket): string?, ("text"|"binary")?
---@return evserve.WebSocket
function ws:messages() end

--- The next message and its kind; nil and "timeout" or "closed".
---@param timeout? evserve.Duration
---@return string?
---@return "text"|"binary"|"timeout"|"closed"
function ws:receive(timeout) end

--- Send a text message. Waits if the client is falling behind. Returns nil, "closed" once it is closed.
---@param text string|number|table a table is sent as JSON
---@return true?
---@return "closed"?
function ws:send(text) end

--- Send a binary message, likewise.
---@param bytes string
---@return true?
---@return "closed"?
function ws:send_binary(bytes) end

--- Send a ping of at most 125 bytes.
---@param bytes? string
---@return true?
---@return "closed"?
function ws:ping(bytes) end

--- Begin to close; does not wait for the client. Returns nil, "closed" if it is closing already.
---@param code? integer default 1000
---@param reason? string
---@return true?
---@return "closed"?
function ws:close(code, reason) end

--- Get the messages of a topic, which are sent to the client without Lua.
---@param topic string
---@param options? { skip: boolean? } skip: miss messages while the client is behind, instead of being cut
---@return true?
---@return string? problem
function ws:subscribe(topic, options) end

--- Returns whether it was subscribed.
---@param topic string
---@return boolean
function ws:unsubscribe(topic) end

---@class evserve.WebSocketOptions: evserve.RouteOptions
---@field origins? string[]|"*" pages that browsers may connect from; default: those of the same host
---@field protocols? string[] subprotocols, the best one first
---@field max_message? evserve.Size bytes of a message from the client; default 1 MiB
---@field ping? evserve.Duration silence after which the client is sent a ping; default 30 s
---@field pong_timeout? evserve.Duration how long it may then say nothing; default 20 s
---@field idle_timeout? evserve.Duration how long no message may go either way; default 0, forever
---@field close_timeout? evserve.Duration how long the client's part of the closing is waited for; default 10 s
---@field compress? boolean compress messages with clients that offer it; default false
---@field compress_min? evserve.Size bytes of the shortest message that is compressed; default 256
---@field max_age? evserve.Duration how long it may stay open after a reload; default 1 h

---@class evserve.Timer
local timer = {}

--- Stop the timer. Returns whether it was still set.
---@return boolean
function timer:cancel() end

---@class evserve.Settings
---@field idle_timeout? evserve.Duration how long a kept-alive connection may stay open without a request
---@field header_timeout? evserve.Duration how long a request head may take to arrive, from its first byte to its last
---@field body_timeout? evserve.Duration how long a request body may make no progress
---@field min_body_rate? evserve.Size bytes per second of a request body, once body_timeout has passed; a slower body gets a 408
---@field write_timeout? evserve.Duration how long a client may read nothing of a response that is waiting
---@field rate_limit? evserve.Size bytes per second of one response that are sent to a client that could take more; 0: no limit
---@field handler_timeout? evserve.Duration how long a handler may take to begin its response; then the client gets a 503; 0: no limit
---@field stream_timeout? evserve.Duration how long a response that has begun may send nothing more; then it is cut; 0: no limit
---@field log_slow? evserve.Duration how long a request may take before a line of the log says what its time was spent on; 0: none is written
---@field stall_warning? evserve.Duration how long a turn of the event loop may take before a line of the log says what held it; 0: none is written, and none counted
---@field tcp_keepalive? evserve.Duration silence after which the kernel probes a TCP client; one that has vanished is noticed after twice that time; at least a second; 0 turns probes off
---@field max_request_line? evserve.Size length of the request line with its CRLF; longer ones get a 414
---@field max_header_bytes? evserve.Size total size of a request's field lines; more gets a 431
---@field max_fields? integer number of field lines in a request; more gets a 431
---@field max_body? evserve.Size size of a request body; larger ones get a 413
---@field max_drain? evserve.Size how much of an unread request body is discarded to keep the connection open
---@field max_connections? integer number of open connections; at the limit the one that has been idle longest is closed, or the new one gets a 503
---@field max_connections_per_address? integer the same for one IPv4 address or IPv6 /64; 0: as many as max_connections
---@field write_high_mark? evserve.Size queued response bytes above which no further request is read
---@field write_cap? evserve.Size queued response bytes at which a client that falls behind is cut
---@field max_cached_files? integer number of files in the file cache
---@field max_cached_file? evserve.Size size of the largest file whose contents the file cache keeps in memory
---@field max_cached_memory? evserve.Size total size of the contents that the file cache keeps in memory
---@field max_outbound? integer number of connections to other servers in each thread, kept ones included
---@field dns_cache? evserve.Duration how long the addresses of a name are kept; a failure is kept for a second at most
---@field ws_deflate_memory? evserve.Size what the contexts of compressed WebSockets may take in each thread; further ones compress each message alone
---@field limit_entries? integer clients, or whatever app.limit counts by, that are kept count of at a time, 16 bytes each; beyond that, those with the least to wait are forgotten
---@field decode_streams? integer number of request bodies with a Content-Encoding that are decoded at a time in each thread; further ones get a 503
---@field list_max? integer number of entries in a directory listing; the first ones in order are shown
---@field drain_timeout? evserve.Duration how long a stop waits for requests in flight; then they are cut
---@field drain_delay? evserve.Duration how long a stop leaves the listeners open first, while app.health says 503
---@field drain_grace? evserve.Duration how long a stop waits for the next request of an idle connection, and for the first one of a new one
---@field handler_cpu? evserve.Duration processor time a handler may use between two waits; then the client gets a 503
---@field lua_memory? evserve.Size memory of the Lua state; requests that need more get a 503
---@field max_tasks? integer tasks of app.spawn, app.all and app.race that have not ended; one more is an error
---@field max_receive? evserve.Size bytes that a socket gives a script at once: a line, what comes before a delimiter, or everything
---@field lua_full_timeout? evserve.Duration how long the Lua state may stay full; then the script is loaded anew; 0: forever
---@field lua_full_exit? boolean the server then ends with a failure, for a supervisor to start it again
---@field numbers? boolean parameters of the type {int} are numbers in req.params, unless their route says otherwise
---@field debug? boolean error responses show the client what went wrong
---@field hsts? string Strict-Transport-Security in responses over TLS: "365d", "365d; includeSubDomains", "off"
---@field access_log? string|false a line for each response goes to this file, "stdout" or "syslog:"; "off" or false: none
---@field access_log_format? string "combined" (the default), "json", or a text with nginx's $variables
---@field trusted_proxies? string|string[] the proxies whose X-Request-Id and forwarded fields count: "127.0.0.1, 10.0.0.0/8, unix:"; "none": nobody's
---@field forwarded? string which of their fields say who the client is: "x-forwarded" (the default), some of "x-forwarded-for, x-forwarded-proto, x-forwarded-host", "forwarded" (RFC 7239), "off"
---@field strip_forwarded? boolean forwarded fields that do not count are removed from requests
---@field broker? string the Redis server that carries topics between machines: "redis://user:password@host:6379/0", "rediss://host", "unix:/run/redis.sock"
---@field deny_connect? string|string[] servers that may not be connected with: "private" for all that is not public, addresses, networks, "unix:"; "!127.0.0.1:6379" is an exception; "none": nothing is denied
---@field unknown_host? "default"|404|421 what names get that no app.host has: what app serves, or this status
---@field base? "start"|"script" where relative paths of mounts, files, templates, error pages, password files and certificates begin: in the directory evserve was started in (the default), or in the script's folder. Must come before the first path
---@field compress? boolean|string|string[] responses are compressed: true for all codings that are installed, or some in order: "br, zstd, gzip"
---@field compress_types? string|string[] media types that are: "text/*, application/json"
---@field compress_min? evserve.Size content of a known length below this stays as it is
---@field compress_level? integer 1, the quickest, to 9, the densest; 4 if left out
---@field trailing_slash? "strict"|"redirect"|"ignore" what "/a/" gets if only "/a" is a route: a 404, a redirect to "/a", or that route

--- A route's name for app.url, and its own limits. Limits you leave out are those of app.set.
---@class evserve.RouteOptions
---@field body_timeout? evserve.Duration how long a request body may make no progress
---@field min_body_rate? evserve.Size bytes per second of a request body, once body_timeout has passed; a slower body gets a 408
---@field write_timeout? evserve.Duration how long a client may read nothing of a response that is waiting
---@field rate_limit? evserve.Size bytes per second of one response that are sent to a client that could take more; 0: no limit
---@field handler_timeout? evserve.Duration how long the handler may take to begin its response; then the client gets a 503; 0: no limit
---@field stream_timeout? evserve.Duration how long a response that has begun may send nothing more; then it is cut; 0: no limit
---@field log_slow? evserve.Duration how long a request may take before a line of the log says what its time was spent on; 0: none is written
---@field max_body? evserve.Size size of a request body; larger ones get a 413
---@field max_drain? evserve.Size how much of an unread request body is discarded to keep the connection open
---@field write_high_mark? evserve.Size queued response bytes above which no further request is read
---@field write_cap? evserve.Size queued response bytes at which a client that falls behind is cut
---@field handler_cpu? evserve.Duration processor time a handler may use between two waits; then the client gets a 503
---@field jit? boolean let LuaJIT compile the function, which then has no deadline
---@field access_log? boolean false: its requests are not in the access log
---@field finish? boolean a handler runs to its end even if its client leaves
---@field half_close? boolean a client that shuts down its side of the connection (FIN) still gets a late response
---@field compress? boolean false: its responses are not compressed
---@field decode? boolean false: bodies stay as they were sent, whatever their Content-Encoding
---@field before_files? boolean a route that ends in *rest comes before all files
---@field csrf? boolean false: requests that look at their session need no token of a form
---@field numbers? boolean parameters of the type {int} are numbers in req.params
---@field owns_paths? boolean a route for all paths: other methods get a 405 instead of a 404
---@field name? string the route's name for app.url

---@class evserve.StaticOptions
---@field cache? string|0 Cache-Control: max-age, such as "1h"; default 0: not sent
---@field dotfiles? boolean serve files and directories whose names begin with a dot
---@field fallback? string file in the directory that is served for paths that are not found, for single-page apps
---@field headers? evserve.Headers header fields for every response, including errors and OPTIONS
---@field index? string|string[]|false index files of directories; default "index.html"; false: none
---@field list? boolean list directories that have no index file
---@field not_found? string file in the directory that is the content of every 404 response
---@field precompressed? boolean serve file.br, file.zst and file.gz in place of file; default true
---@field types? table<string, string> media types by extension: { wasm = "application/wasm" }

---@class evserve.Totals
---@field accepted integer connections accepted
---@field connections integer connections open now
---@field requests integer responses begun
---@field by_class table<string, integer> responses by class of status: "1xx" to "5xx"
---@field bytes_sent integer sent to clients, including heads and framing
---@field bytes_received integer received from clients
---@field timeouts integer connections closed by a deadline
---@field lost integer connections that ended in an error
---@field limited integer requests refused by app.limit
---@field stalls integer turns of the event loop that took longer than stall_warning

---@class evserve.Stats: evserve.Totals
---@field total evserve.Totals the sums over all threads
---@field lua_memory integer bytes that the Lua state holds
---@field uptime number seconds since the server started
---@field workers evserve.WorkerStats[] of each app.worker, in their order

---@class evserve.WorkerStats
---@field path string of the module
---@field threads integer that have started
---@field busy integer threads that run a call
---@field waiting integer calls in the queue
---@field calls integer that were begun
---@field refused integer calls for which the queue had no room

--- "0.1.0"
---@type string
app.version = ""

--- Listen on an address: "127.0.0.1:8080", "[::1]:8080", ":8080", "unix:/run/x.sock", "unix:@name", "fd:3".
--- HTTPS: ":443?tls". Behind a proxy that sends the PROXY protocol: "127.0.0.1:8081?proxy". Call it once for each
--- address.
---@param address string
function app.listen(address) end

--- Add a certificate for the addresses with "?tls", and set what holds for all of them. The first certificate is the
--- default; others are chosen by the server name that the client asks for.
---@param options evserve.TlsOptions
function app.tls(options) end

--- Listen on an address whose requests are all redirected (308) to HTTPS: to the same target, at the port of the first
--- address with "?tls", or at the one in options. Host must be a name of a certificate.
---@param address string ":80"
---@param options { port?: integer }?
function app.redirect_https(address, options) end

--- Serve the challenges that an ACME client (certbot, acme.sh, ...) writes into a directory, at
--- /.well-known/acme-challenge/TOKEN, on every address.
---@param directory string
function app.acme(directory) end

--- Pass requests below a prefix on to other servers, and their responses to the clients.
---@param prefix string "/api", or "/"
---@param upstreams string|string[] "http://127.0.0.1:3000", "https://...", "http+unix:/run/app.sock"
---@param options evserve.ProxyOptions?
function app.proxy(prefix, upstreams, options) end

--- Change limits and timeouts.
---@param settings evserve.Settings
function app.set(settings) end

--- Serve the files of a directory, which is relative to the one evserve was started in, or files in memory by their
--- paths: { ["/index.html"] = text, ["/x.png"] = { text, type = "image/png" } }.
---@param prefix string
---@param directory string|table<string, string|{ [1]: string, type: string? }>
---@param options evserve.StaticOptions?
function app.static(prefix, directory, options) end

--- Redirect the paths that fit, for all methods. :name and *rest in the target stand for what the path has matched; the
--- query is kept.
---@param path string as of a route: "/old/*rest"
---@param target string? "/new/*rest", "https://example.org/*rest"; nil with status 410
---@param status (301|302|303|307|308|410)? 301
function app.redirect_from(path, target, status) end

--- Add fields to all responses below a prefix that have none of that name; false drops a field.
---@param prefix string "/", "/api"
---@param fields table<string, string|number|false|(string|number)[]>
---@param options { replace?: boolean }?
function app.headers(prefix, fields, options) end

--- Add Cache-Control to responses below a prefix that have none, by name ("*.css") or media type ("image/*").
---@param prefix string "/", "/assets"
---@param entries table<string, string|0> "30d", "no-cache", "1y, immutable"
function app.cache(prefix, entries) end

--- Serve these clients alone below a prefix; others get 403.
---@param prefix string "/admin"
---@param networks string|string[] "10.0.0.0/8, ::1, unix:", "all"
function app.allow(prefix, networks) end

--- Refuse these clients below a prefix with 403.
---@param prefix string "/", "/internal"
---@param networks string|string[] "192.0.2.0/24", "all"
function app.deny(prefix, networks) end

--- Ask for a name and a password below a prefix: of a file that htpasswd writes, or those for which a function returns
--- true; false lets everybody in. The handler finds the name in req.user.
---@param prefix string "/admin"
---@param who string|false|fun(user: string, password: string, req: evserve.Request): boolean?
---@param options? { realm?: string }
function app.basic_auth(prefix, who, options) end

--- Send a file in place of the server's own text about an error. A status of its own wins over its class.
---@param statuses integer|string|(integer|string)[] 404, "4xx", { 410, "5xx" }
---@param file string "pages/404.html"
---@param options? { for_proxied?: boolean }
function app.error_page(statuses, file, options) end

---@class evserve.Limit
---@field rate? string so many requests in a second, minute, hour or day: "10/s", "600/m", "5/h", "100/d"
---@field burst? integer so many may come at once; as many as the number of rate if left out
---@field concurrency? integer so many may be in progress
---@field by? string what requests are counted by: "client" (the default), "header:NAME", "user", "host", "all"
---@field status? integer of refusals: 429 if left out
---@field rate_limit? evserve.Size bytes per second of each response

--- Bound how often requests below a prefix come, and how many are in progress. Others get 429 with Retry-After.
---@param prefix string "/", "/api"
---@param limit evserve.Limit
function app.limit(prefix, limit) end

---@class evserve.Cors
---@field origins string|string[] "https://app.example", "https://*.example.org", "http://localhost:*", or "*" for all
---@field methods? string|string[] that pages may use; "GET, HEAD, POST, PUT, PATCH, DELETE" if left out
---@field headers? string|string[] names of fields that they may send; "Content-Type" if left out
---@field expose? string|string[] names of fields of responses that they may read
---@field credentials? boolean they may send cookies and passwords
---@field max_age? integer|string how long browsers keep the response to a preflight: seconds, or "10m"

--- Let pages of other origins read responses below a prefix, refusals included, and answer their preflights.
---@param prefix string "/", "/api"
---@param options evserve.Cors|false false: turn off what a shorter prefix allows
function app.cors(prefix, options) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.get(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.head(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.post(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.put(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.patch(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.delete(path, options, handler) end

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.options(path, options, handler) end

--- A route for every method.
---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function app.any(path, options, handler) end

--- A route for WebSockets: fn runs for as long as the client stays.
---@param path string
---@param options evserve.WebSocketOptions
---@param fn fun(ws: evserve.WebSocket)
---@overload fun(path: string, fn: fun(ws: evserve.WebSocket))
function app.websocket(path, options, fn) end

---@param methods evserve.Method|evserve.Method[]
---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(methods: evserve.Method|evserve.Method[], path: string, handler: evserve.Handler)
function app.route(methods, path, options, handler) end

--- Routes under a common prefix, with their own middleware.
---@class evserve.Group
local group = {}

---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(path: string, handler: evserve.Handler)
function group.get(path, options, handler) end

group.head, group.post, group.put, group.patch = group.get, group.get, group.get, group.get
group.delete, group.options, group.any = group.get, group.get, group.get

---@param methods evserve.Method|evserve.Method[]
---@param path string
---@param options evserve.RouteOptions
---@param handler evserve.Handler
---@overload fun(methods: evserve.Method|evserve.Method[], path: string, handler: evserve.Handler)
function group.route(methods, path, options, handler) end

--- A route for WebSockets: fn runs for as long as the client stays.
---@param path string
---@param options evserve.WebSocketOptions
---@param fn fun(ws: evserve.WebSocket)
---@overload fun(path: string, fn: fun(ws: evserve.WebSocket))
function group.websocket(path, options, fn) end

---@param path string
---@param options evserve.TopicEventsOptions
---@overload fun(fn: fun(events: evserve.Events), options?: evserve.EventsOptions): evserve.Response
---@overload fun(options: evserve.TopicEventsOptions): evserve.Response
function group.events(path, options) end

--- Wrap every route of the group and of the groups in it in a function. Middleware from app.use lies further out.
---@param middleware fun(req: evserve.Request, nxt: fun(req: evserve.Request?): evserve.Response): any, any, evserve.Headers?
function group.use(middleware) end

group.redirect_from, group.headers, group.cache = app.redirect_from, app.headers, app.cache
group.allow, group.deny, group.basic_auth, group.limit = app.allow, app.deny, app.basic_auth, app.limit
group.error_page, group.proxy, group.cors = app.error_page, app.proxy, app.cors

--- Create a group inside this group.
---@param prefix string
---@return evserve.Group
function group.group(prefix) end

--- Create a group of routes under a prefix such as "/api", with its own middleware.
---@param prefix string
---@return evserve.Group
function app.group(prefix) end

--- Limits of a host, which a route may have as well. Those you leave out are those of app.set.
---@class evserve.HostSettings
---@field body_timeout? evserve.Duration how long a request body may make no progress
---@field min_body_rate? evserve.Size bytes per second of a request body, once body_timeout has passed; a slower body gets a 408
---@field write_timeout? evserve.Duration how long a client may read nothing of a response that is waiting
---@field rate_limit? evserve.Size bytes per second of one response that are sent to a client that could take more; 0: no limit
---@field handler_timeout? evserve.Duration how long a handler may take to begin its response; then the client gets a 503; 0: no limit
---@field stream_timeout? evserve.Duration how long a response that has begun may send nothing more; then it is cut; 0: no limit
---@field log_slow? evserve.Duration how long a request may take before a line of the log says what its time was spent on; 0: none is written
---@field max_body? evserve.Size size of a request body; larger ones get a 413
---@field max_drain? evserve.Size how much of an unread request body is discarded to keep the connection open
---@field write_high_mark? evserve.Size queued response bytes above which no further request is read
---@field write_cap? evserve.Size queued response bytes at which a client that falls behind is cut
---@field compress? boolean|string|string[] responses are compressed: true for all codings that are installed, or some in order: "br, zstd, gzip"
---@field compress_types? string|string[] media types that are: "text/*, application/json"
---@field compress_min? evserve.Size content of a known length below this stays as it is
---@field compress_level? integer 1, the quickest, to 9, the densest; 4 if left out
---@field trailing_slash? "strict"|"redirect"|"ignore" what "/a/" gets if only "/a" is a route: a 404, a redirect to "/a", or that route
---@field access_log? boolean|string its lines go to this file, "stdout" or "syslog:"; true: to the log of app.set; false or "off": to none
---@field access_log_format? string the format of its lines: "combined", "json", or a text with nginx's $variables; without it that of app.set

--- What is served under names of its own. It shares nothing with app, which serves all other names.
---@class evserve.Host: evserve.Group
local host = {}

--- Change limits of its requests.
---@param settings evserve.HostSettings
function host.set(settings) end

--- A certificate for each of its names.
---@param options { cert: string, key?: string, client_ca?: string, client?: "required"|"optional" }
function host.tls(options) end

--- Sessions for its requests, as app.session.
---@param options evserve.SessionOptions
function host.session(options) end

--- Respond where no route and no file of this host does, as app.on does for the default host.
---@param event "not_found"|"not_allowed"
---@param fn fun(req: evserve.Request): any, any, evserve.Headers?
function host.on(event, fn) end

host.static, host.health, host.metrics = app.static, app.health, app.metrics

--- Serve something under one name or several: "example.org", "*.example.org" for all names that end so, "192.0.2.1".
---@param ... string
---@return evserve.Host
function app.host(...) end

--- The path of the route with this name, with parameters and query filled in and percent-encoded.
---@param name string
---@param params table<string, string|number>?
---@param query table<string, string|number|boolean|(string|number|boolean)[]>?
---@return string
function app.url(name, params, query) end

--- Wrap every Lua route in a function. nxt() calls the next function inside and returns its response.
---@param middleware fun(req: evserve.Request, nxt: fun(req: evserve.Request?): evserve.Response): any, any, evserve.Headers?
function app.use(middleware) end

--- Register a function for an event.
--- "error": fn(req, err) is called when a handler fails, and can replace the 500 response.
--- "start": called when the server starts.
--- "stopping": called when a stop or a reload begins, so that streams can end.
--- "stop": called when no other code of the script will run any more.
--- "memory": called while lua_memory is full, before requests are rejected, and after a run that wanted more than what
--- was free; at most once a second if it releases nothing. Drop whatever the script can do without.
--- "not_found", "not_allowed": fn(req) responds where no route and no file does, with 404 or 405 unless it says otherwise.
--- "answered": fn(req, outcome) is called when a request is over that the script has responded to.
---@param event "start"|"stopping"|"stop"|"memory"
---@param fn fun()
---@overload fun(event: "error", fn: fun(req: evserve.Request, err: any): any, any, evserve.Headers?)
---@overload fun(event: "not_found"|"not_allowed", fn: fun(req: evserve.Request): any, any, evserve.Headers?)
---@overload fun(event: "answered", fn: fun(req: evserve.Request, outcome: evserve.Outcome))
function app.on(event, fn) end

--- What became of a request.
---@class evserve.Outcome
---@field status integer of the response; 0 if the client left before it
---@field bytes integer that were sent of it
---@field seconds number from the begin of the handler to the end of the response
---@field error string? what went wrong: a failure of the handler, or why the server refused the request

--- Publish a message to the subscribers of a topic in all threads. Returns nil and a text if that cannot be.
---@param topic string
---@param data string|number|table a table is sent as JSON
---@param options? { binary: boolean?, event: string? }
---@return true?
---@return string? problem
function app.publish(topic, data, options) end

--- Messages of a topic.
---@class evserve.Subscription
local subscription = {}

---@class evserve.SubscribeOptions
---@field queue? integer messages that may wait; then the oldest are dropped; default 1,000, at most 10,000
---@field replay? integer messages that the topic keeps from now on, up to 10,000
---@field after? string the id of the last message that is known, or "earliest": those that are kept since come first

--- Subscribe to a topic. The subscription ends with the handler, timer or detached task in which it was made.
---@param topic string
---@param options? evserve.SubscribeOptions
---@return evserve.Subscription? subscription
---@return string? err
function app.subscribe(topic, options) end

--- Wait for a message. Returns its text, its id and the name of its event; or nil and "timeout", "closed" or "stopping".
---@param timeout? evserve.Duration
---@return string? text
---@return string? id
---@return string? event
function subscription:receive(timeout) end

--- Each message, until the subscription or the script ends, or none has come for so long.
---@param timeout? evserve.Duration
---@return fun(): string?, string?, string?
function subscription:messages(timeout) end

--- How many messages were dropped since the last call; and whether the topic did not have all that came after `after`.
---@return integer count
---@return boolean is_gap
function subscription:lost() end

--- End it. Returns whether it had not ended.
---@return boolean
function subscription:close() end

---@class evserve.TopicEventsOptions: evserve.RouteOptions
---@field topic string|fun(req: evserve.Request): string?, any, any, evserve.Headers? its name; or nil and a response
---@field replay? integer messages that are kept for clients that come back, up to 10,000; default 0
---@field heartbeat? evserve.Duration|false time between two comments that keep the connection alive; default 15 s
---@field retry? evserve.Duration how long the client waits before it connects again
---@field skip? boolean a client that falls behind misses messages; without it its stream ends, and it comes back

--- A GET route for Server-Sent Events: clients get what is published to a topic. Or, in a handler, a response: a stream of
--- the messages of a topic, or one that a function makes.
---@param path string
---@param options evserve.TopicEventsOptions
---@overload fun(fn: fun(events: evserve.Events), options?: evserve.EventsOptions): evserve.Response
---@overload fun(options: evserve.TopicEventsOptions): evserve.Response
function app.events(path, options) end

--- Wait while other requests run. If the client goes away meanwhile, it raises an error that ends the handler.
---@param duration evserve.Duration
function app.sleep(duration) end

--- A connection to another server. What fails gives nil and a text, such as "timeout" or "closed".
---@class evserve.Socket
local socket = {}

---@class evserve.ConnectOptions
---@field timeout? evserve.Duration of the connection, and of each wait; default 60 s
---@field pool? string under which name setkeepalive() keeps the connection; default: the address
---@field tls? true|evserve.ConnectTls

---@class evserve.ConnectTls
---@field verify? boolean false: the server's certificate is not looked at
---@field ca? string authorities to trust in place of the system's: a file in PEM, or PEM text
---@field client_cert? { cert: string, key: string? } our own certificate, likewise
---@field server_name? string for whom the server's certificate must be; default: the host
---@field alpn? string protocols to offer, joined by ","
---@field min_version? "1.2"|"1.3"

--- Connect to "host:port", "[::1]:port" or "unix:/path".
---@param address string
---@param options? evserve.ConnectOptions
---@return evserve.Socket? socket
---@return string? err
function app.connect(address, options) end

--- Connect it anew, as OpenResty's sockets do: to a port of a host, or to "unix:/path" without a port.
---@param host string
---@param port? integer
---@param options? { pool: string?, pool_size: integer? }
---@return integer? ok
---@return string? err
function socket:connect(host, port, options) end

--- Send a string, a number, or a list of them, which may contain lists. Returns the number of bytes.
---@param data string|number|boolean|table
---@return integer? count
---@return string? err
function socket:send(data) end

--- Read a line ("*l", the default), so many bytes, or everything up to the end ("*a"). After a failure, partial is what
--- had arrived.
---@param what? integer|"*l"|"*a"
---@return string? data
---@return string? err
---@return string? partial
function socket:receive(what) end

--- Read what has arrived, at most so many bytes; wait for the first one.
---@param max integer
---@return string? data
---@return string? err
---@return string? partial
function socket:receiveany(max) end

--- A function that reads what comes before the next delimiter. Called with a size, it reads that in pieces, and returns
--- nil when the delimiter has come.
---@param delimiter string
---@param options? { inclusive: boolean? } whether the delimiter is part of the result
---@return fun(size: integer?): (string?, string?, string?)
function socket:receiveuntil(delimiter, options) end

--- How long each wait may last. A number is in milliseconds; 0 or nil is 60 s.
---@param timeout? number|string
function socket:settimeout(timeout) end

---@param connect? number|string
---@param send? number|string
---@param read? number|string
function socket:settimeouts(connect, send, read) end

--- Keep the connection open for the next app.connect() with the same address or pool. The socket is closed then.
---@param idle? evserve.Duration how long it is kept; default 60 s, 0: without end
---@param size? integer how many are kept with the same name; default 30
---@return integer? ok
---@return string? err
function socket:setkeepalive(idle, size) end

--- Begin TLS on an open connection. The certificate is verified unless verify is false.
---@param session any ignored
---@param name? string for whom the certificate must be; default: the host
---@param verify? boolean
---@return boolean? ok
---@return string? err
function socket:sslhandshake(session, name, verify) end

--- The client's certificate for sslhandshake(): PEM text or files. nil: none.
---@param cert? string
---@param key? string
---@return boolean ok
function socket:setclientcert(cert, key) end

---@param name "keepalive"|"tcp-nodelay"|"sndbuf"|"rcvbuf"|"reuseaddr"
---@param value boolean|integer
---@return boolean? ok
---@return string? err
function socket:setoption(name, value) end

--- How often the connection was kept and used again.
---@return integer? count
---@return string? err
function socket:getreusedtimes() end

---@return integer? ok
---@return string? err
function socket:close() end

--- Wait until the fd of a library can be read or written. It fails with "timeout", or with an error of the system.
---@param fd integer
---@param what "read"|"write"|"either"
---@param timeout? evserve.Duration
---@return true? ok
---@return string? err
function app.wait(fd, what, timeout) end

---@class evserve.Udp
local udp = {}

--- Set the peer: a name or an address and a port, or "unix:/run/x.sock". It waits while a name is looked up.
---@param host string
---@param port? integer
---@return integer? ok
---@return string? err
function udp:setpeername(host, port) end

--- Send a datagram. It never waits.
---@param data string|number|table
---@return integer? ok
---@return string? err
function udp:send(data) end

--- Wait for a datagram.
---@param size? integer what is longer is cut
---@return string? data
---@return string? err
function udp:receive(size) end

--- How long each call may wait.
---@param duration evserve.Duration
function udp:settimeout(duration) end

---@return integer? ok
---@return string? err
function udp:close() end

--- Make a socket for datagrams.
---@return evserve.Udp
function app.udp() end

--- Call a function once.
---@param delay evserve.Duration
---@param fn fun()
---@return evserve.Timer
function app.after(delay, fn) end

--- Call a function repeatedly. If a run is still going on when the next one is due, the next one is skipped.
---@param interval evserve.Duration
---@param fn fun()
---@return evserve.Timer
---@overload fun(interval: evserve.Duration, options: evserve.EveryOptions, fn: fun()): evserve.Timer
function app.every(interval, fn) end

---@class evserve.EveryOptions
---@field once? boolean one thread of the server runs it instead of all; only while the script starts

---@class evserve.Store
local store = {}

--- The value of a key, or nil. Tables are copies.
---@param key string|number
---@return any
function store:get(key) end

--- Set the value of a key for as long as ttl says; without ttl it stays. nil removes the key.
---@param key string|number
---@param value string|number|boolean|table|nil
---@param ttl? evserve.Duration
---@return true
function store:set(key, value, ttl) end

--- Set the value of a key if there is none.
---@param key string|number
---@param value string|number|boolean|table
---@param ttl? evserve.Duration
---@return boolean # whether it was set
function store:add(key, value, ttl) end

--- Set the value of a key if there is one.
---@param key string|number
---@param value string|number|boolean|table
---@param ttl? evserve.Duration
---@return boolean # whether it was set
function store:replace(key, value, ttl) end

---@param key string|number
---@return boolean # whether it was there
function store:delete(key) end

--- Add to a number. An absent key starts at initial, and lasts for ttl.
---@param key string|number
---@param n? number 1 if it is nil
---@param initial? number 0 if it is nil
---@param ttl? evserve.Duration
---@return number # the sum
function store:incr(key, n, initial, ttl) end

--- Whether this is the first call for the key within ttl, on any thread.
---@param key string|number
---@param ttl evserve.Duration
---@return boolean
function store:once(key, ttl) end

--- Let a key last for ttl from now on; without ttl it stays.
---@param key string|number
---@param ttl? evserve.Duration
---@return boolean # whether it is there
function store:expire(key, ttl) end

--- How many milliseconds a key will last: math.huge if it stays, nil if it is not there.
---@param key string|number
---@return number?
function store:ttl(key) end

--- The keys that begin with a prefix, in no particular order, and whether there are more.
---@param prefix? string
---@param most? number 1,000 if it is nil
---@return string[], boolean
function store:keys(prefix, most) end

--- Remove everything.
function store:flush() end

---@class evserve.StoreStats
---@field keys integer
---@field bytes integer
---@field size integer
---@field evicted integer keys that had to make room before their time

---@return evserve.StoreStats
function store:stats() end

---@class evserve.StoreOptions
---@field size? integer|string bytes of memory: "1M" unless you say otherwise
---@field redis? string the store is in Redis: "redis://user:password@host:port/db", "rediss://host", "unix:/run/redis.sock". Calls then wait
---@field user? string of Redis
---@field password? string of Redis
---@field db? integer number of the database in Redis
---@field timeout? evserve.Duration of each reply of Redis: "1s" unless you say otherwise
---@field tls? boolean|table for Redis, as in app.connect

--- A table that all threads of the server share, and that survives reloads; or, with redis, all servers. Only while the script starts.
---@param name string
---@param options? evserve.StoreOptions
---@return evserve.Store
function app.store(name, options) end

--- Call a function when the handler has ended and its response is on its way or lost. A server that stops waits for
--- it.
---@param fn fun()
function app.defer(fn) end

---@class evserve.Task
local task = {}

--- Wait for the end of the task. Returns what its function returned, or raises its error; nil and "timeout" if the task
--- takes longer than the timeout.
---@param timeout? evserve.Duration
---@return any ...
function task:wait(timeout) end

--- End the task at its wait, which raises an error. Returns false if it has ended or was cancelled already.
---@return boolean
function task:cancel() end

--- Call a function in a task, which runs beside the handler and ends with it. The first argument may be a table with
--- detached = true; then the task ends with the script.
---@param fn fun(...)
---@param ... any arguments of fn
---@return evserve.Task
---@overload fun(options: { detached: boolean }, fn: fun(...), ...: any): evserve.Task
function app.spawn(fn, ...) end

--- Call functions in tasks, and wait for all of them. Returns the first result of each. If one fails, the others are
--- cancelled and its error is raised.
---@param ... fun(): any
---@return any ...
function app.all(...) end

--- Call functions in tasks, and wait for the first that ends. Returns its results, or raises its error; the others are
--- cancelled.
---@param ... fun(): any
---@return any ...
function app.race(...) end

---@class evserve.Semaphore
local semaphore = {}

--- Take one, or wait for one. Returns true, or nil and "timeout".
---@param timeout? evserve.Duration
---@return true? ok
---@return "timeout"? err
function semaphore:wait(timeout) end

--- Give back one, or as many as count says.
---@param count? integer
function semaphore:post(count) end

--- Take one, call fn(...), and give it back when that has ended, however it ends. Returns what fn returns. The first
--- argument may be a table with a timeout for the wait; then nil and "timeout" are returned if it takes longer.
---@param fn fun(...): any ...
---@param ... any arguments of fn
---@return any ...
---@overload fun(self: evserve.Semaphore, options: { timeout?: evserve.Duration }, fn: fun(...), ...: any): any ...
function semaphore:with(fn, ...) end

--- How many are left.
---@return integer
function semaphore:count() end

--- Make a semaphore, for what only so many may do at a time.
---@param count integer
---@return evserve.Semaphore
function app.semaphore(count) end

---@class evserve.Channel
local channel = {}

--- Hand over a value, which cannot be nil. Waits while the channel is full.
---@param value any
---@param timeout? evserve.Duration
---@return true? ok
---@return "timeout"|"closed"? err
function channel:send(value, timeout) end

--- Take a value, or wait for one.
---@param timeout? evserve.Duration
---@return any value
---@return "timeout"|"closed"? err
function channel:receive(timeout) end

--- Receive until the channel is closed: for value in channel:each() do ... end
---@return fun(): any
function channel:each() end

--- No more values are accepted.
function channel:close() end

--- How many values wait.
---@return integer
function channel:count() end

--- Make a channel, in which at most capacity values wait (0 if it is left out).
---@param capacity? integer
---@return evserve.Channel
function app.channel(capacity) end

--- Call a function and return its results. Meanwhile, the handler or task is not ended because its client leaves or
--- because it is cancelled.
---@param fn fun(...): any
---@param ... any arguments of fn
---@return any ...
function app.shield(fn, ...) end

---@class evserve.WorkerOptions
---@field threads? integer calls that run at the same time, 1 to 256 (default: 2)
---@field queue? integer calls that may wait while all threads are busy (default: 100); one more is an error at once
---@field memory? evserve.Size memory of the Lua state of each thread (default: "64M")
---@field timeout? evserve.Duration how long a call may wait for its result (default: "30s"); 0: forever

--- Load a module on threads of its own. Returns an object with its functions, which wait for their results. Arguments
--- and results are copied. At start-up.
---@param path string
---@param options? evserve.WorkerOptions
---@return table<string, fun(...: any): ...>
function app.worker(path, options) end

---@class evserve.FetchOptions
---@field method? string (default: "GET")
---@field headers? table<string, string|number|(string|number)[]> a list of values becomes several field lines
---@field body? string|number|table|evserve.Request|evserve.Fetched|fun(): string? a table is sent as JSON; a function returns the next piece, and nil at the end
---@field form? table<string, string|number|boolean|(string|number)[]> the body is a form with these fields
---@field query? table<string, string|number|boolean|(string|number)[]> is added to the URL, encoded
---@field length? integer how many bytes a function for the body will give; without it they are sent in chunks
---@field timeout? evserve.Duration until the response is complete; with stream, until its head is there, and then for each piece (default: "30s")
---@field connect_timeout? evserve.Duration for the name, the connection and TLS (default: "10s")
---@field redirects? integer|boolean how many are followed, 0 to 50; false: none (default: 10)
---@field stream? boolean return as soon as the head is there; read the body with res:chunks() or res:read()
---@field max_body? evserve.Size of the body, unpacked (default: "16M"; with stream: no limit)
---@field max_head? evserve.Size of the head (default: "64K")
---@field gzip? boolean ask for gzip and unpack it (default: true)
---@field keepalive? boolean use kept connections, and keep this one (default: true)
---@field unix? string path of a unix socket to connect to, in place of the host in the URL
---@field verify? boolean false: accept any certificate
---@field ca? string file with the certificates of authorities to trust, in place of the system's
---@field client_cert? { cert: string, key: string? } files in PEM
---@field server_name? string that the server's certificate must have (default: the host)
---@field tls? { verify: boolean?, ca: string?, client_cert: { cert: string, key: string? }?, server_name: string? } the last four, as a table

--- A response of app.fetch.
---@class evserve.Fetched
---@field status integer
---@field reason string behind the status, possibly ""
---@field headers table<string, string|string[]> names in any case; "set-cookie" is a list, other repeated fields are joined
---@field body? string nil with stream = true
---@field url string of this response, after redirects
---@field redirects integer that were followed
local fetched = {}

--- The decoded JSON body; or nil, a text and its kind.
---@return any value
---@return string? err
---@return string? kind
function fetched:json() end

--- The body piece by piece. Raises an error if it breaks off.
---@return fun(): string?
function fetched:chunks() end

--- With stream = true: the next piece; nil at the end; or nil, a text and its kind.
---@return string? piece
---@return string? err
---@return string? kind
function fetched:read() end

--- End it before its end.
function fetched:close() end

--- Send a request to another server and wait for the response: it, whatever its status; or nil, a text and its kind
--- ("request", "resolve", "denied", "busy", "connect", "tls", "timeout", "closed", "protocol", "too large", "redirects",
--- "memory").
---@param url string "http://...", "https://..." or "http+unix:/run/app.sock:/path"
---@param options? evserve.FetchOptions
---@return evserve.Fetched? res
---@return string? err
---@return string? kind
function app.fetch(url, options) end

--- Seconds on a clock that never goes back, for measuring time. Use os.time() for the date.
---@return number
function app.now() end

--- Write the values to the log as one line, separated by spaces.
---@param level "error"|"warn"|"info"|"debug"
---@param ... any
function app.log(level, ...) end

--- Statistics of this thread of the server.
---@return evserve.Stats
function app.stats() end

--- Whether the script ends, because the server stops or a reload has replaced it: a stream or a loop should end now.
---@return boolean
function app.stopping() end

--- A route for balancers: 200 "ok"; 503 from the moment a stop begins, and when check returns nil or false, with the
--- reason, or raises an error. The check may wait. No middleware runs before it.
---@param path string
---@param check? fun(): any, any
function app.health(path, check) end

--- A route for monitoring systems such as Prometheus: what all threads of the server have counted. It runs no Lua.
---@param path string
---@param options? { hosts?: string[] } hosts: names to be counted apart, at most 64, such as "example.org"
function app.metrics(path, options) end

---@class evserve.Counter
local counter = {}

--- Add a number from 0 on; 1 if n is nil. The values of the labels follow, in the order of their definition.
---@param n? number
---@param ... string|number
function counter:inc(n, ...) end

---@class evserve.Gauge
local gauge = {}

--- Add a number, which may be negative; 1 if n is nil.
---@param n? number
---@param ... string|number
function gauge:inc(n, ...) end

---@param n number
---@param ... string|number
function gauge:set(n, ...) end

---@class evserve.Histogram
local histogram = {}

--- Count a value.
---@param n number
---@param ... string|number
function histogram:observe(n, ...) end

--- A number on the page of app.metrics that only grows. The name ends in "_total".
---@param name string
---@param help string what is counted
---@param labels? string[] names of up to 8 labels
---@return evserve.Counter
function app.counter(name, help, labels) end

--- A number that goes up and down. The page has the sum over the threads.
---@param name string
---@param help string
---@param labels? string[]
---@return evserve.Gauge
function app.gauge(name, help, labels) end

--- Values counted by size.
---@param name string
---@param help string
---@param labels? string[]
---@param buckets? number[] up to 32 upper bounds, ascending; 1 ms to 60 s, in seconds, if nil
---@return evserve.Histogram
function app.histogram(name, help, labels, buckets) end

--- A text/html response.
---@param text string
---@return evserve.Response
function app.html(text) end

---@class evserve.Template
---@overload fun(values?: table): evserve.Response
local page = {}

--- The page as text.
---@param values table?
---@return string
function page:render(values) end

--- A response that is sent while it is made.
---@param values table?
---@return evserve.Response
function page:stream(values) end

--- A page of HTML with values in it. Only at start-up.
---@param path string
---@return evserve.Template
function app.template(path) end

--- A redirect. Characters that a URL must not contain are percent-encoded; existing encoding is kept.
---@param url string
---@param status (301|302|303|307|308)? default 302
---@return evserve.Response
function app.redirect(url, status) end

---@class evserve.FileOptions
---@field root? string directory that the path is in and cannot leave; default: the one evserve was started in
---@field type? string Content-Type; by default it follows from the file's name
---@field download? string|true name under which browsers save the file; true: the file's own
---@field cache? string Cache-Control: max-age, such as "1h"
---@field dotfiles? boolean serve dot files, too

--- A file, sent as static files are: conditions, ranges and HEAD work. A missing file is 404. A path that leads out of
--- the root is 403, so with a root of its own the path may come from a client.
---@param path string
---@param options evserve.FileOptions?
---@return evserve.Response
function app.file(path, options) end

---@class evserve.CookieAttributes
---@field path? string default "/"
---@field domain? string default: only the host itself
---@field max_age? string|0 such as "1h"; 0 deletes the cookie
---@field expires? number seconds since 1970, as from os.time()
---@field secure? boolean send only over HTTPS
---@field http_only? boolean hide from scripts in the page
---@field same_site? "strict"|"lax"|"none"

--- The value of a Set-Cookie field.
---@param name string
---@param value string|number
---@param attributes evserve.CookieAttributes?
---@return string
function app.cookie(name, value, attributes) end

--- Return it to send the static files' response for this path.
---@type evserve.Response
app.pass = {}

---@class evserve.Error an error that becomes a response
---@field status integer
---@field body evserve.Body
---@field headers evserve.Headers?

--- Raise an error that, unless you catch it, becomes the response that returning (status, body, headers) would send.
--- Middleware around the handler gets it from nxt() as a response.
---@param status integer 400 to 599
---@param body evserve.Body? default: a short text that names the status
---@param headers evserve.Headers?
function app.error(status, body, headers) end

--- Make text safe in HTML and in quoted attributes.
---@param text string|number
---@return string
function app.escape_html(text) end

--- Bytes that nobody can predict, for keys, tokens and ids.
---@param n integer 1 to 65536
---@return string
function app.random(n) end

--- A UUID: version 4 is random, 7 begins with the time.
---@param version (4|7)? default: 4
---@return string
function app.uuid(version) end

---@param text string
---@return string
function app.base64(text) end

--- The bytes, or nil and where the text is wrong.
---@param text string
---@return string? bytes
---@return string? err
function app.base64_decode(text) end

--- Base64 for URLs, cookies and file names: with "-" and "_", without "=".
---@param text string
---@return string
function app.base64url(text) end

--- The bytes, or nil and where the text is wrong.
---@param text string
---@return string? bytes
---@return string? err
function app.base64url_decode(text) end

--- Two lower-case hexadecimal digits for each byte.
---@param text string
---@return string
function app.hex(text) end

--- The bytes, or nil and where the text is wrong.
---@param text string
---@return string? bytes
---@return string? err
function app.hex_decode(text) end

--- The digest, as 32 bytes. Needs OpenSSL.
---@param text string
---@return string
function app.sha256(text) end

--- The digest, as 64 bytes. Needs OpenSSL.
---@param text string
---@return string
function app.sha512(text) end

--- The HMAC of a text, as bytes. Needs OpenSSL.
---@param digest "sha256"|"sha512"|"sha1"
---@param key string
---@param text string
---@return string
function app.hmac(digest, key, text) end

--- Whether two texts are the same, in a time that does not show where they differ. nil is equal to nothing.
---@param a string?
---@param b string?
---@return boolean
function app.equal(a, b) end

---@class evserve.Password
app.password = {}

--- A hash of a password, to be stored in its place. It takes its time, and waits for a thread. Needs libcrypt.
---@param password string at most 511 bytes
---@param options { cost: integer? }? 1 to 9, default: 5; each step doubles time and memory
---@return string
function app.password.hash(password, options) end

--- Whether a hash was made of that password: yescrypt, bcrypt, SHA-2, "$apr1$", "{SHA}" and "{SSHA}".
---@param password string?
---@param hash string
---@return boolean
function app.password.verify(password, hash) end

---@class evserve.SessionOptions
---@field secret? string|string[] seals sessions in cookies: 32 to 1,024 bytes each; the first one seals, each one opens
---@field store? evserve.Store instead of a secret: keeps the sessions; cookies have random ids
---@field max_age? string how long a session lasts after it was last saved; default: "7d"
---@field lifetime? string how long it lasts at most; default: no limit
---@field cookie? string|evserve.SessionCookie default: "session"
---@field csrf? boolean false: requests need no token of a form

---@class evserve.SessionCookie
---@field name? string
---@field domain? string
---@field path? string
---@field secure? boolean default: for requests by HTTPS
---@field http_only? boolean default: true
---@field same_site? "strict"|"lax"|"none" default: "lax"

--- Give requests a session: req.session, req:csrf(), req:flash(), req:flashes(). Needs OpenSSL.
---@param options evserve.SessionOptions
function app.session(options) end

---@class evserve.SealTerms
---@field secret string|string[] 32 to 1,024 bytes each: the first one seals, each one opens
---@field purpose string? what is sealed for one purpose does not open for another
---@field max_age string? when opening: how long after it was sealed a text is accepted, "12h"; default: for ever

--- Encrypt and authenticate a text, so that a client can keep it in a cookie or a URL. Needs OpenSSL.
---@param text string at most 65,536 bytes
---@param terms evserve.SealTerms
---@return string
function app.seal(text, terms) end

--- The text, or nil and why it does not open.
---@param sealed string?
---@param terms evserve.SealTerms
---@return string? text
---@return string? err
function app.open(sealed, terms) end

---@class evserve.TestOptions
---@field headers evserve.Headers? "_" in a name stands for "-"
---@field query table? parameters that are added to the target
---@field form table? fields; a file is { content = text, filename = "a.png", type = "image/png" }
---@field json any
---@field body string?
---@field follow boolean? follow redirects
---@field cookies false? neither send nor keep any
---@field host string? default "localhost"
---@field timeout evserve.Duration? of real time; default 30 s

---@class evserve.TestResponse
---@field status integer
---@field headers table<string, string> names in any case
---@field body string
---@field cookies table<string, table> value, and attributes in lower case
---@field target string the path that it is from
---@field json fun(self: evserve.TestResponse): any
---@field all fun(self: evserve.TestResponse, name: string): string[] all fields with this name

---@class evserve.Test
---@field case fun(self: evserve.Test, name: string, fn: fun(c: evserve.Test))
---@field client fun(self: evserve.Test, options: evserve.TestOptions?): evserve.Test with cookies of its own
---@field advance fun(self: evserve.Test, duration: evserve.Duration) move the clock; "30d", too
---@field restart fun(self: evserve.Test) end the site, and start it anew
---@field wait fun(self: evserve.Test, fn: fun(): any, timeout: evserve.Duration?): any
---@field request fun(self: evserve.Test, method: string, target: string, options: evserve.TestOptions?): evserve.TestResponse
---@field get fun(self: evserve.Test, target: string, options: evserve.TestOptions?): evserve.TestResponse
---@field head fun(self: evserve.Test, target: string, options: evserve.TestOptions?): evserve.TestResponse
---@field post fun(self: evserve.Test, target: string, options: evserve.TestOptions?): evserve.TestResponse
---@field put fun(self: evserve.Test, target: string, options: evserve.TestOptions?): evserve.TestResponse
---@field patch fun(self: evserve.Test, target: string, options: evserve.TestOptions?): evserve.TestResponse
---@field delete fun(self: evserve.Test, target: string, options: evserve.TestOptions?): evserve.TestResponse
---@field options fun(self: evserve.Test, target: string, options: evserve.TestOptions?): evserve.TestResponse
---@field begin fun(self: evserve.Test, method: string, target: string, options: evserve.TestOptions?): table head, read, response, close
---@field events fun(self: evserve.Test, target: string, options: evserve.TestOptions?): table next, close
---@field websocket fun(self: evserve.Test, target: string, options: table?): table send, receive, close
---@field cookie fun(self: evserve.Test, name: string, path: string?): string?
---@field set_cookie fun(self: evserve.Test, name: string, value: string?)
---@field equal fun(got: any, expected: any, what: string?): any
---@field differ fun(got: any, other: any, what: string?): any
---@field ok fun(value: any, what: string?): any
---@field match fun(text: string, pattern: string, what: string?): string
---@field contains fun(text: string, part: string, what: string?): string
---@field fails fun(fn: function, pattern: string?, what: string?): any

--- A client that tests the site. Only in a file that evserve --test runs.
---@return evserve.Test
function app.test() end

---@class evserve.Json
app.json = {}

--- JSON for a value. Raises an error if there is none. sort: the names of objects in the order of their bytes; indent:
--- each item on a line, indented by so many spaces (0 to 8).
---@param value any
---@param options? { sort: boolean?, indent: integer? }
---@return string
function app.json.encode(value, options) end

--- The value, or nil and an error text. int64: integers beyond 2^53 are 64-bit integers (42LL, 42ULL) or text; without
--- it, the nearest number.
---@param text string
---@param options? { int64: "cdata"|"text"|nil }
---@return any
---@return string?
function app.json.decode(text, options) end

--- Whether JSON for the value is an array: a table with items, or one that app.json.array or app.json.decode has marked.
---@param value any
---@return boolean
function app.json.is_array(value) end

--- A copy of a table with text as its keys, so that it becomes a JSON object: number keys are written as text.
---@param fields table
---@return table
function app.json.object(fields) end

--- Mark a table (by default a new one) as a JSON array. This matters if it is empty.
---@param list table?
---@return table
function app.json.array(list) end

--- The value that stands for null.
---@type lightuserdata
app.json.null = nil

return app
