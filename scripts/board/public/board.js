// New posts as they come, and the upload of pictures.
"use strict";

const list = document.querySelector("#posts[data-live]");

// What the page itself has for a post, made of text alone.
function show(post) {
  if (document.getElementById("post-" + post.id)) return;
  const item = document.createElement("li");
  item.id = "post-" + post.id;
  item.className = post.state;
  const name = item.appendChild(document.createElement("a"));
  name.href = "/people/" + encodeURIComponent(post.name);
  name.textContent = post.name;
  item.append(" ");
  const time = item.appendChild(document.createElement("time"));
  time.dateTime = time.textContent = post.time;
  item.appendChild(document.createElement("p")).textContent = post.text;
  if (post.image) {
    item.appendChild(document.createElement("img")).src = "/images/" + encodeURIComponent(post.image);
  }
  list.prepend(item);
}

if (list) {
  new EventSource(list.dataset.live).addEventListener("post", (event) => show(JSON.parse(event.data)));
}

const upload = document.querySelector("#upload");

upload?.addEventListener("submit", (event) => {
  event.preventDefault();
  const [progress, output] = [upload.querySelector("progress"), upload.querySelector("output")];
  const file = upload.querySelector("input").files[0];
  const request = new XMLHttpRequest();
  request.upload.onprogress = (step) => { progress.value = step.loaded / step.total; };
  request.onloadend = () => {
    progress.hidden = true;
    output.textContent = request.status === 201 ? "Sent." : "That did not work: " + (request.responseText || "no connection");
  };
  progress.hidden = false;
  request.open("POST", "/images?text=" + encodeURIComponent(file.name));
  request.setRequestHeader("Content-Type", file.type);
  request.setRequestHeader("X-CSRF-Token", upload.dataset.csrf);
  request.send(file);
});
