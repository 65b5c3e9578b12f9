#!/usr/bin/env node
// Prints transcripts from the bus of Stenobus: the stored ones first, then new ones, each once and in order.
// The ordered consumer guarantees that, even when the server restarts. Subjects and fields: docs/asyncapi.json.

import { parseArgs } from "node:util";
import { decode } from "@msgpack/msgpack";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const RATE = 16_000; // samples per second of all audio, and the unit of all times on the bus
const HEADER = 16; // bytes before the samples of an audio frame

const USAGE = `usage: node read.mjs [--server nats://127.0.0.1:4222] [--job ID] [--audio] [--json]
  --job    one job, until it is completed; default: all jobs, until Ctrl-C
  --audio  print the headers of audio frames too
  --json   print one JSON object per line`;

/** Decodes the header of an audio frame; throws if it does not match the frame's length. */
function decodeAudioHeader(data) {
  if (data.length < HEADER) throw new Error(`not an audio frame: ${data.length} bytes`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const version = view.getUint8(0);
  const flags = view.getUint8(1);
  const samples = view.getUint32(4, true);
  if (version !== 1) throw new Error(`not an audio frame: unknown version ${version}`);
  if (data.length !== HEADER + 2 * samples) throw new Error(`not an audio frame: ${samples} samples expected`);
  return {
    start: Number(view.getBigUint64(8, true)),
    samples,
    generation: view.getUint16(2, true),
    last: (flags & 1) !== 0,
    cut: (flags & 2) !== 0,
  };
}

/** Calls `take(message)` for each stored message of the subjects, then for each new one, until it returns true. */
async function read(js, stream, subjects, take) {
  const consumer = await js.consumers.get(stream, { filter_subjects: subjects });
  // `expires` also limits how long reading pauses after a restart of the server; the default is half a minute.
  const messages = await consumer.consume({ expires: 2_000 });
  for await (const message of messages) {
    let done = false;
    try {
      done = take(message);
    } catch (error) {
      // Anyone may publish on the bus: skip what cannot be read.
      console.error(`${message.subject} ${message.seq}: ${error.message}`);
    }
    if (done) return;
  }
}

function transcripts(js, job, show) {
  const subjects = [`events.${job}.transcript.*.*`, `events.${job}.completed`];
  return read(js, "EVENTS", subjects, (message) => {
    if (message.subject.endsWith(".completed")) return job !== "*";
    const { job: id, generation, index, start, end, text, language, error } = decode(message.data);
    const fields = { type: "transcript", seq: message.seq, job: id, generation, index };
    show({ ...fields, start: start / RATE, end: end / RATE, text, language, error });
  });
}

function audio(js, job, show) {
  return read(js, "AUDIO", [`audio.${job}`], (message) => {
    const frame = decodeAudioHeader(message.data);
    const { start, samples } = frame;
    const id = message.subject.split(".")[1];
    show({ type: "audio", seq: message.seq, job: id, ...frame, start: start / RATE, end: (start + samples) / RATE });
    return frame.last && job !== "*";
  });
}

function line(found) {
  const at = `${found.job} ${found.start.toFixed(2)}-${found.end.toFixed(2)}`;
  if (found.type === "audio") return `${at} audio${found.last ? ", last" : found.cut ? ", cut" : ""}`;
  const again = found.generation > 1 ? ` generation ${found.generation}` : "";
  return `${at}${again} #${found.index} ${found.error ? `(${found.error})` : found.text}`;
}

function settings() {
  const { values } = parseArgs({
    options: {
      server: { type: "string", default: process.env.NATS_URL ?? "nats://127.0.0.1:4222" },
      job: { type: "string" },
      audio: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.job !== undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(values.job))
    throw new Error(`--job ${values.job}: 1 to 64 letters, digits, _ or - are accepted`);
  return values;
}

async function main({ server, job = "*", audio: withAudio, json }) {
  const show = (found) => console.log(json ? JSON.stringify(found) : line(found));
  const connection = await connect({ servers: server.split(","), name: "read.mjs", maxReconnectAttempts: -1 });
  process.once("SIGINT", () => connection.close());
  try {
    const js = jetstream(connection);
    await Promise.all([transcripts(js, job, show), ...(withAudio ? [audio(js, job, show)] : [])]);
  } finally {
    await connection.close();
  }
}

process.stdout.on("error", () => process.exit(0)); // `head` and the like close the pipe early

let wanted;
try {
  wanted = settings();
} catch (error) {
  console.error(`${error.message}\n${USAGE}`);
  process.exit(2);
}
if (wanted.help) {
  console.log(USAGE);
} else {
  try {
    await main(wanted);
  } catch (error) {
    console.error(`cannot read from ${wanted.server}: ${error.message}`);
    process.exit(1);
  }
}
