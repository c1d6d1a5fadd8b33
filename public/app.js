// The start page: live numbers, a chat, and routes to try. No library, nothing kept, nothing sent anywhere else.
"use strict";

const $ = (id) => document.getElementById(id);

// make("p", { className: "x" }, "text", node...): an element.
function make(tag, props, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
}

/* ---- The dial: a step for each message and each answer ---- */

const dial = { steps: 0 };

function dialStep() {
  const stations = $("stations").children;
  stations[dial.steps % stations.length].classList.remove("is-here");
  dial.steps += 1;
  stations[dial.steps % stations.length].classList.add("is-here");
  $("hand").style.transform = `rotate(${(dial.steps * 360) / stations.length}deg)`;
}

/* ---- Live numbers ---- */

const RETRY_MS = 10000;
const SAMPLES = 60;

const live = {
  source: null, // EventSource
  timer: 0, // of the next attempt, where the browser makes none
  paused: false,
  last: null, // { at, requests, uptime } of the sample before
  rates: [],
};

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// The number and the unit that stands small behind it.
function formatBytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (bytes >= 1024 && i < units.length - 1) {
    bytes /= 1024;
    i += 1;
  }
  return [bytes.toFixed(i === 0 || bytes >= 100 ? 0 : 1), units[i]];
}

function formatUptime(seconds) {
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const clock = `${two((seconds % 86400) / 3600)}:${two((seconds % 3600) / 60)}:${two(seconds % 60)}`;
  return days > 0 ? `${days} d ${clock}` : clock;
}

// In full while it fits a tile.
const formatCount = (n) => (n < 1e9 ? whole : compact).format(n);

const formatRate = (rate) => (rate >= 10 || rate === 0 ? whole.format(rate) : rate.toFixed(1));

function show(name, value, unit) {
  const place = document.querySelector(`[data-stat=${name}]`);
  place.replaceChildren(value);
  if (unit) {
    place.append(" ", make("small", {}, unit));
  }
}

function drawRates() {
  const width = 590;
  const height = 100;
  const peak = Math.max(...live.rates);
  const top = Math.max(peak * 1.1, 4); // an idle server draws a low line, not a wild one
  const step = width / (SAMPLES - 1);
  const first = width - (live.rates.length - 1) * step;
  const points = live.rates.map((rate, i) =>
    `${(first + i * step).toFixed(1)} ${(height - (rate / top) * height).toFixed(1)}`);

  $("spark-line").setAttribute("d", `M${points.join("L")}`);
  $("spark-area").setAttribute("d", `M${first.toFixed(1)} ${height}L${points.join("L")}L${width} ${height}Z`);
  $("spark-end").setAttribute("d", `M${points.at(-1)}h0`);
  $("peak").textContent = `peak ${formatRate(peak)}`;
}

// Requests per second between two samples; null when there is nothing to compare with. Counters that went back belong
// to a server that was started anew.
function rateSince(last, now) {
  if (!last || now.requests < last.requests || now.uptime < last.uptime) {
    return null;
  }
  return ((now.requests - last.requests) * 1000) / Math.max(now.at - last.at, 1);
}

function setState(state, text) {
  $("panel").dataset.state = state;
  if ($("live-status").textContent !== text) {
    $("live-status").textContent = text; // a live region: only a change may be read out
  }
}

function showStats(stats) {
  const now = { at: performance.now(), requests: stats.requests, uptime: stats.uptime };
  const rate = rateSince(live.last, now);

  if (rate === null) {
    live.rates = [];
  } else {
    live.rates = [...live.rates, rate].slice(-SAMPLES);
    drawRates();
    show("rate", formatRate(rate));
    $("dial-rate").textContent = rate < 1000 ? formatRate(rate) : compact.format(rate);
  }
  live.last = now;

  for (const name of ["connections", "accepted", "requests", "timeouts", "lost"]) {
    if (Number.isFinite(stats[name])) {
      show(name, formatCount(stats[name]));
    }
  }
  for (const name of ["bytes_sent", "bytes_received", "lua_memory"]) {
    if (Number.isFinite(stats[name])) {
      show(name, ...formatBytes(stats[name]));
    }
  }
  if (Number.isFinite(stats.uptime)) {
    show("uptime", formatUptime(stats.uptime));
    $("lamp-text").textContent = `up ${formatUptime(stats.uptime)}`;
  }
  if (stats.version) {
    $("version").textContent = stats.version;
  }
  $("lamp").classList.add("is-on");
  setState("on", "Sent once a second.");
}

function showNoStats(reason) {
  live.last = null;
  live.rates = [];
  for (const place of document.querySelectorAll("[data-stat]")) {
    place.textContent = "–";
  }
  for (const id of ["spark-line", "spark-area", "spark-end"]) {
    $(id).setAttribute("d", "");
  }
  $("peak").textContent = "";
  $("dial-rate").textContent = "–";
  $("lamp").classList.remove("is-on");
  $("lamp-text").textContent = "no numbers";
  setState("off", `The numbers are not available: ${reason} The page keeps trying.`);
}

function stopListening() {
  clearTimeout(live.timer);
  live.source?.close();
  live.source = null;
  live.last = null; // the time without samples is nobody's rate
}

// The browser connects again by itself, unless the server refuses: then there are no such events.
function listen() {
  const source = new EventSource("/api/live?lastEventId=earliest"); // the last numbers at once
  live.source = source;
  source.onmessage = (event) => {
    showStats(JSON.parse(event.data));
    dialStep();
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      showNoStats("the server does not send them. A server without the demo’s Lua script serves files only.");
      live.timer = setTimeout(update, RETRY_MS);
    } else {
      showNoStats("the server does not answer.");
    }
  };
}

// Listen exactly while somebody can see the numbers.
function update() {
  stopListening();
  if (!document.hidden && !live.paused) {
    listen();
  }
}

function togglePause() {
  live.paused = !live.paused;
  $("pause").textContent = live.paused ? "Resume" : "Pause";
  if (live.paused) {
    setState("paused", "Paused.");
    $("lamp").classList.remove("is-on");
    $("lamp-text").textContent = "paused";
  } else {
    setState("idle", "Waiting for the numbers.");
  }
  update();
}

/* ---- The chat ---- */

const LINES_KEPT = 100;

const chat = { socket: null, wait: 500, you: "" };

function setChat(state, text) {
  $("chat-panel").dataset.state = state;
  $("chat-status").textContent = text;
  $("chat-form").querySelector("button").disabled = state !== "on";
}

function showLine(from, text) {
  const lines = $("chat-lines");
  const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  const line = make("li", { className: from === chat.you ? "is-mine" : "" }, make("b", {}, from), " ", text);
  lines.append(line);
  while (lines.children.length > LINES_KEPT) {
    lines.firstElementChild.remove();
  }
  if (isAtEnd) {
    lines.scrollTop = lines.scrollHeight;
  }
}

function takeMessage(message) {
  if (message.you) {
    chat.you = message.you;
    chat.wait = 500;
    $("chat-name").textContent = message.you;
    setChat("on", `You are ${message.you}. Everybody who has this page open sees what you write.`);
  } else {
    showLine(message.from, message.text);
    dialStep();
  }
}

function openChat() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/chat`);
  chat.socket = socket;
  socket.onmessage = (event) => takeMessage(JSON.parse(event.data));
  socket.onclose = () => {
    setChat("off", "Not connected. The page keeps trying.");
    setTimeout(openChat, chat.wait * (0.5 + Math.random()));
    chat.wait = Math.min(chat.wait * 2, RETRY_MS);
  };
}

function sendLine(event) {
  event.preventDefault();
  const text = $("chat-text").value.trim();
  if (text && chat.socket?.readyState === WebSocket.OPEN) {
    chat.socket.send(text);
    $("chat-text").value = "";
  }
}

/* ---- Routes to try ---- */

const BODY_SHOWN = 4000;

// The sent request of a route: what fetch() needs, and the lines worth showing.
async function requestOf(item, signal) {
  const { method, path, kind } = item.dataset;
  const init = { method, signal, cache: "no-store" };

  if (kind === "echo") {
    init.body = $("echo-body").value;
  }
  if (kind === "upload") {
    init.body = new FormData();
    for (const file of $("upload-files").files) {
      init.body.append("file", file);
    }
  }
  if (kind === "conditional") {
    // fetch() hides a 304 that its cache asked for. With the field set by hand it is ours, and shown.
    const known = await fetch(path, { method: "HEAD", signal, cache: "no-store" });
    const tag = known.headers.get("etag");
    if (!tag) {
      throw new Error(`${path} came without an entity tag`);
    }
    init.headers = { "If-None-Match": tag };
  }
  return { path, init };
}

// The open answer of a route, made anew for each try.
function openAnswer(item) {
  const { method, path } = item.dataset;
  const status = make("span", { className: "status" }, "waiting");
  const took = make("span", { className: "took" });
  const close = make("button", { className: "key", type: "button" }, "Close");
  const top = make("div", { className: "answer-top" }, make("span", { role: "status" }, status, " ", took), close);
  const answer = make("div", { className: "answer" }, top);

  answer.setAttribute("role", "region");
  answer.setAttribute("aria-label", `Answer to ${method} ${path}`);
  close.addEventListener("click", () => {
    item.trying?.abort();
    answer.remove();
    item.querySelector(".key").focus();
  });
  item.querySelector(".answer")?.remove();
  item.append(answer);
  return { answer, status, took };
}

function part(title, label) {
  const pre = make("pre", { tabIndex: 0 });
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", label);
  return { pre, box: make("div", {}, make("p", {}, title), pre) };
}

function showHead(pre, response, init) {
  for (const [name, value] of response.headers) {
    pre.append(make("b", {}, `${name}: `), `${value}\n`);
  }
  for (const [name, value] of Object.entries(init.headers ?? {})) {
    pre.append(make("em", {}, `\nsent with ${name}: ${value}\n`));
  }
}

// Show the body as it arrives; a stream has the time of arrival before each line.
async function showBody(pre, response, timed, started) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let shown = 0;
  let rest = "";

  while (reader) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    const text = decoder.decode(value, { stream: true });
    if (shown + text.length > BODY_SHOWN) {
      pre.append(text.slice(0, BODY_SHOWN - shown), make("em", {}, "\n(and more)"));
      reader.cancel();
      return;
    }
    shown += text.length;
    if (timed) {
      const at = `${Math.round(performance.now() - started)} ms`.padStart(8);
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        pre.append(make("b", {}, `${at}  `), `${line}\n`);
      }
    } else {
      pre.append(text);
    }
  }
  if (rest) {
    pre.append(rest);
  }
  if (shown === 0) {
    pre.append(make("em", {}, "(none)"));
  }
}

async function tryRoute(item) {
  item.trying?.abort();
  const trying = new AbortController();
  item.trying = trying;

  const { answer, status, took } = openAnswer(item);
  let started = performance.now();
  try {
    const { path, init } = await requestOf(item, trying.signal);
    started = performance.now();
    const response = await fetch(path, init);
    const head = part("Headers", "Headers of the answer");
    const body = part("Body", "Body of the answer");

    dialStep();
    status.textContent = `${response.status} ${response.statusText}`.trim();
    status.classList.add(`is-${Math.floor(response.status / 100)}`);
    took.textContent = `head after ${Math.round(performance.now() - started)} ms`;
    showHead(head.pre, response, init);
    answer.append(make("div", { className: "parts" }, head.box, body.box));
    await showBody(body.pre, response, item.dataset.kind === "stream", started);
  } catch (error) {
    if (!trying.signal.aborted) {
      status.textContent = "no answer";
      status.classList.add("is-lost");
      took.textContent = error.message;
    }
  }
}

/* ---- Start ---- */

function addTryKeys() {
  for (const item of $("routes").children) {
    const { method, path } = item.dataset;
    const key = make("button", { className: "key", type: "button" }, "Try it");
    key.setAttribute("aria-label", `Try it: ${method} ${path}`);
    key.addEventListener("click", () => tryRoute(item));
    item.append(key);
  }
  $("echo-body").addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      tryRoute(event.target.closest("li"));
    }
  });
}

function addCopyKeys() {
  if (!navigator.clipboard) {
    return; // not a secure context
  }
  for (const item of document.querySelectorAll(".commands li")) {
    const command = item.querySelector("code").textContent;
    const key = make("button", { className: "key", type: "button" });
    const say = (word) => {
      key.textContent = word;
      key.setAttribute("aria-label", `${word} ${command}`);
    };
    say("Copy");
    key.addEventListener("click", async () => {
      const done = navigator.clipboard.writeText(command);
      say(await done.then(() => "Copied", () => "Failed"));
      setTimeout(say, 1500, "Copy");
    });
    item.append(key);
  }
}

if (location.host) {
  document.querySelector("[data-host]").textContent = location.host;
}
addTryKeys();
addCopyKeys();
if (location.host) {
  setChat("idle", "Connecting.");
  $("chat-form").addEventListener("submit", sendLine);
  openChat();
}
$("pause").hidden = false;
$("pause").addEventListener("click", togglePause);
setState("idle", "Waiting for the numbers.");
document.addEventListener("visibilitychange", update);
update();
