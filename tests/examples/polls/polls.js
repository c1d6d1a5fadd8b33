"use strict";

const byId = id => document.getElementById(id);

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

async function ask(method, path, fields) {
  const reply = await fetch("/api/polls" + path, {method, body: fields && new URLSearchParams(fields)});
  byId("error").textContent = reply.ok ? "" : await reply.text();
  return reply;
}

function show(poll) {
  const total = poll.options.reduce((sum, option) => sum + option.votes, 0);
  const options = poll.options.map((option, i) => element("button",
    {className: "option", onclick: () => change("POST", `/${poll.id}/votes`, {option: i})},
    element("span", {textContent: option.text}),
    element("span", {textContent: option.votes}),
    element("progress", {value: option.votes, max: total || 1})));
  const remove = element("button", {className: "delete", textContent: "Delete", onclick: () => change("DELETE", `/${poll.id}`)});
  return element("article", {}, element("header", {}, element("h2", {textContent: poll.question}), remove), ...options);
}

async function refresh() {
  const reply = await fetch("/api/polls");
  byId("polls").replaceChildren(...(await reply.json()).map(show));
}

async function change(method, path, fields) {
  const reply = await ask(method, path, fields);
  await refresh();
  return reply.ok;
}

byId("new").onsubmit = async event => {
  event.preventDefault();
  const form = event.target;
  const options = form.options.value.split("\n").map(line => line.trim()).filter(line => line !== "");
  const fields = [["question", form.question.value], ...options.map(option => ["option", option])];
  if (await change("POST", "", fields)) {
    form.reset();
  }
};

refresh();
