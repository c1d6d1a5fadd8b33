// The start page: live numbers, and routes to try. No library, nothing kept, nothing sent anywhere else.
"use strict";

const $ = (id) => document.getElementById(id);

// make("p", { className: "x" }, "text", node...): an element.
function make(tag, props, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
}

/* ---- The dial: a step for each answer ---- */

const dial = { steps: 0 };

function dialStep() {
  const stations = $("stations").children;
  stations[dial.steps % stations.length].classList.remove("is-here");
  dial.steps += 1;
  stations[dial.steps % stations.length].classList.add("is-here");
  $("hand").style.transform = `rotate(${(dial.steps * 360) / stations.length}deg)`;
}

/* ---- Live numbers ---- */

const EVERY_MS = 1000;
const RETRY_MS = 10000;
const GIVE_UP_MS = 5000;
const SAMPLES = 60;

const live = {
  timer: 0,
  asking: null, // AbortController of the request under way
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
  setState("on", "Updated once a second.");
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
  setState("off", `The numbers are not available: ${reason} The page asks again every ${RETRY_MS / 1000} seconds.`);
}

// Resolves to the stats, or throws an Error whose message is a sentence for the reader.
async function fetchStats(signal) {
  let response;
  try {
    response = await fetch("/api/stats", { cache: "no-store", signal });
  } catch {
    throw new Error("the server does not answer.");
  }
  if (response.status === 404 || response.status === 405) {
    throw new Error(`/api/stats answers ${response.status}. A server without the demo’s Lua script serves files ` +
      "only, and most routes below are not there either.");
  }
  if (!response.ok) {
    throw new Error(`/api/stats answers ${response.status}.`);
  }
  const stats = await response.json().catch(() => null);
  if (!stats || !Number.isFinite(stats.requests)) {
    throw new Error("/api/stats answers something else than the expected JSON.");
  }
  return stats;
}

async function ask() {
  const started = performance.now();
  const asking = new AbortController();
  const giveUp = setTimeout(() => asking.abort(), GIVE_UP_MS);
  let wait = EVERY_MS;

  live.asking = asking;
  try {
    const stats = await fetchStats(asking.signal);
    if (live.asking !== asking) {
      return; // stopped meanwhile
    }
    showStats(stats);
    dialStep();
  } catch (error) {
    if (live.asking !== asking) {
      return;
    }
    showNoStats(error.message);
    wait = RETRY_MS;
  } finally {
    clearTimeout(giveUp);
  }
  live.timer = setTimeout(ask, Math.max(wait - (performance.now() - started), 0));
}

function stopAsking() {
  clearTimeout(live.timer);
  const asking = live.asking;
  live.asking = null;
  asking?.abort();
  live.last = null; // the time without samples is nobody's rate
}

// Ask exactly while somebody can see the answer.
function update() {
  stopAsking();
  if (!document.hidden && !live.paused) {
    ask();
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
    setState("idle", "Asking for the numbers.");
  }
  update();
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
$("pause").hidden = false;
$("pause").addEventListener("click", togglePause);
setState("idle", "Asking for the numbers.");
document.addEventListener("visibilitychange", update);
update();
