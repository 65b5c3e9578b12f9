/** The WebSocket connections of one job, one after the other: sends and receives what the protocol decides. */

import { socketUrl } from "../api.js";
import { KEEPALIVE } from "../core/protocol.js";

/** Close code of a page that is being left: the server keeps the job open, as the page may return. */
const RELOADING = 4900;
const UNRESPONSIVE = 4901;

/** Bytes that may wait in the browser: enough for a hidden page, whose timers run once a second. */
const MAX_BUFFERED = 512 * 1024;

/* Milliseconds. */
const DRAIN_INTERVAL = 20;
const ACCEPT_TIMEOUT = 20_000;
/** The server acks sound twice a second, and a job waits 30 s for its client. */
const ACK_TIMEOUT = 15_000;
/** While the last segments and the summary are being made the server may send nothing. */
const SUMMARY_TIMEOUT = 60_000;
const KEEPALIVE_INTERVAL = 20_000;

export class Connection extends EventTarget {
  /**
   * Events: "message" (detail: the server's), "state" (`state` is "connecting", "open", "waiting" or "closed", with
   * `retryAt` in ms and `reason`), "end" (detail: as CaptureProtocol.closed gives it, when it will not reconnect).
   */
  constructor(protocol, job) {
    super();
    this.protocol = protocol;
    this.job = job;
    this.state = "closed";
    this.reason = "";
    this.retryAt = 0;
    this.socket = null;
    this.onOnline = () => this.state === "waiting" && this.connect();
    window.addEventListener("online", this.onOnline);
  }

  connect() {
    clearTimeout(this.retry);
    const socket = new WebSocket(socketUrl(this.job, this.protocol.begin()));
    this.socket = socket;
    this.receivedAt = this.sentAt = performance.now();
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = ({ code, reason }) => this.#closed(socket, code, reason);
    this.watch = setInterval(() => this.#check(), 1_000);
    this.#set("connecting");
  }

  /** Send what is ready, as much as the browser will buffer. */
  flush() {
    clearTimeout(this.drain);
    const { socket, protocol } = this;
    if (socket?.readyState !== WebSocket.OPEN) return;
    while (socket.bufferedAmount < MAX_BUFFERED) {
      if (this.#timeout() === Infinity) this.receivedAt = performance.now(); // no answer was due until now
      const message = protocol.next();
      if (message === null) return;
      socket.send(message);
      this.sentAt = performance.now();
    }
    this.drain = setTimeout(() => this.flush(), DRAIN_INTERVAL);
  }

  /** Close it for good, without an event. reloading: the page may continue the job when it is loaded again. */
  close({ reloading = false } = {}) {
    window.removeEventListener("online", this.onOnline);
    this.#disconnect(reloading ? [RELOADING, "back soon"] : [1000]);
    clearTimeout(this.retry);
    this.state = "closed";
  }

  #receive(socket, data) {
    if (socket !== this.socket) return;
    this.receivedAt = performance.now();
    const message = this.protocol.receive(data);
    if (!message) return;
    if (message.type === "connection_success") this.#set("open");
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
    this.flush();
  }

  #closed(socket, code, reason) {
    if (socket !== this.socket) return;
    this.#disconnect();
    const end = this.protocol.closed(code, reason, Math.random());
    if (end.outcome !== "retry") {
      this.close();
      this.dispatchEvent(new CustomEvent("end", { detail: end }));
      return;
    }
    this.retryAt = Date.now() + end.after * 1_000;
    this.retry = setTimeout(() => this.connect(), end.after * 1_000);
    this.#set("waiting", end.reason);
  }

  /** A browser does not notice for minutes that a connection is dead. */
  #check() {
    const { protocol } = this;
    const now = performance.now();
    if (now - this.receivedAt > this.#timeout()) {
      const socket = this.socket;
      this.#disconnect([UNRESPONSIVE, "no answer"]);
      this.socket = socket; // so that its end is handled once, here
      this.#closed(socket, 1006, "");
    } else if (protocol.accepted && now - this.sentAt > KEEPALIVE_INTERVAL) {
      this.socket.send(KEEPALIVE);
      this.sentAt = now;
    }
  }

  /** Milliseconds in which the server should send something; Infinity if nothing is due. */
  #timeout() {
    const { accepted, stopSent, sound } = this.protocol;
    if (!accepted) return ACCEPT_TIMEOUT;
    if (stopSent) return SUMMARY_TIMEOUT;
    return sound.sent > sound.acked ? ACK_TIMEOUT : Infinity;
  }

  #disconnect(closing = null) {
    clearInterval(this.watch);
    clearTimeout(this.drain);
    const socket = this.socket;
    this.socket = null;
    if (socket && closing) socket.close(...closing);
  }

  #set(state, reason = "") {
    this.state = state;
    this.reason = reason;
    this.dispatchEvent(new Event("state"));
  }
}
