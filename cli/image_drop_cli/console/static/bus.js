// What the server tells this window, as it happens. The browser reconnects by itself.

const bus = new EventTarget();
let source;
let connected = false;

export const on = (name, heard) => bus.addEventListener(name, (event) => heard(event.detail));
export const say = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));

export function listen() {
  source?.close();
  source = new EventSource("/api/events");
  for (const name of ["welcome", "state", "tiles", "drop", "problem"]) {
    source.addEventListener(name, (event) => say(name, JSON.parse(event.data)));
  }
  source.addEventListener("open", () => change(true));
  source.addEventListener("error", () => {
    change(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 1500);
  });
}

function change(now) {
  if (now !== connected) say("connection", now);
  connected = now;
}
