/** Connections of one conversation, one after the other: moves what the conversation decides over WebSockets. */

import { socketUrl } from "../api.js";
import { KEEPALIVE } from "../core/conversation.js";

/** The server does not count a page that is left with this code as one that is done: the job waits for it. */
const BACK_SOON = 4900;
const DEAD = 4901;

/** Bytes that may wait in the browser: enough for a hidden page, whose timers run once a second. */
const HIGH_WATER = 512 * 1024;
const DRAIN_EVERY = 20;

const WELCOME_WITHIN = 20_000;
/** The server acks sound twice a second. Well within the 30 s for which a job waits. */
const SILENT_FOR = 15_000;
/** While the last text and the summary are made, there may be nothing to say. */
const THINKING_FOR = 60_000;
const KEEPALIVE_EVERY = 20_000;

export class Line extends EventTarget {
  /**
   * Events: "message" (detail: the server's), "state" (`state` is "connecting", "open", "waiting" or "closed", with
   * `retryAt` in ms and `why`), "verdict" (detail: as Conversation.ended gives it, when no further attempt is made).
   */
  constructor(conversation, path) {
    super();
    this.conversation = conversation;
    this.path = path;
    this.state = "closed";
    this.why = "";
    this.retryAt = 0;
    this.socket = null;
    this.onOnline = () => this.state === "waiting" && this.connect();
    window.addEventListener("online", this.onOnline);
  }

  connect() {
    clearTimeout(this.retry);
    const socket = new WebSocket(socketUrl(this.path, this.conversation.begin()));
    this.socket = socket;
    this.heardAt = this.saidAt = performance.now();
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = ({ code, reason }) => this.#ended(socket, code, reason);
    this.watch = setInterval(() => this.#check(), 1_000);
    this.#set("connecting");
  }

  /** Send what there is, as far as the browser takes it. */
  pump() {
    clearTimeout(this.drain);
    const { socket, conversation } = this;
    if (socket?.readyState !== WebSocket.OPEN) return;
    while (socket.bufferedAmount < HIGH_WATER) {
      if (this.#patience() === Infinity) this.heardAt = performance.now(); // until now nothing was to be heard
      const next = conversation.next();
      if (next === null) return;
      socket.send(next);
      this.saidAt = performance.now();
    }
    this.drain = setTimeout(() => this.pump(), DRAIN_EVERY);
  }

  /** End for good, without a word to the listeners. back: the page will go on with the job when it is loaded again. */
  close({ back = false } = {}) {
    window.removeEventListener("online", this.onOnline);
    this.#hangUp(back ? [BACK_SOON, "back soon"] : [1000]);
    clearTimeout(this.retry);
    this.state = "closed";
  }

  #receive(socket, data) {
    if (socket !== this.socket) return;
    this.heardAt = performance.now();
    const message = this.conversation.receive(data);
    if (!message) return;
    if (message.type === "connection_success") this.#set("open");
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
    this.pump();
  }

  #ended(socket, code, reason) {
    if (socket !== this.socket) return;
    this.#hangUp();
    const verdict = this.conversation.ended(code, reason, Math.random());
    if (verdict.then !== "again") {
      this.close();
      this.dispatchEvent(new CustomEvent("verdict", { detail: verdict }));
      return;
    }
    this.retryAt = Date.now() + verdict.after * 1_000;
    this.retry = setTimeout(() => this.connect(), verdict.after * 1_000);
    this.#set("waiting", verdict.why);
  }

  /** A line that died without a word is not noticed by the browser for minutes. */
  #check() {
    const { conversation } = this;
    const now = performance.now();
    if (now - this.heardAt > this.#patience()) {
      const socket = this.socket;
      this.#hangUp([DEAD, "no answer"]);
      this.socket = socket; // so that its end is told once, here
      this.#ended(socket, 1006, "");
    } else if (conversation.welcomed && now - this.saidAt > KEEPALIVE_EVERY) {
      this.socket.send(KEEPALIVE);
      this.saidAt = now;
    }
  }

  /** Milliseconds in which something should be heard; without end where nothing is asked for. */
  #patience() {
    const { welcomed, saidStop, sound } = this.conversation;
    if (!welcomed) return WELCOME_WITHIN;
    if (saidStop) return THINKING_FOR;
    return sound.sent > sound.acked ? SILENT_FOR : Infinity;
  }

  #hangUp(words = null) {
    clearInterval(this.watch);
    clearTimeout(this.drain);
    const socket = this.socket;
    this.socket = null;
    if (socket && words) socket.close(...words);
  }

  #set(state, why = "") {
    this.state = state;
    this.why = why;
    this.dispatchEvent(new Event("state"));
  }
}
