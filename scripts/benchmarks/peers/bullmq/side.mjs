// BullMQ. Set up: concurrency 16 (its guide: a local concurrency factor for jobs that don't hold the loop), completed
// jobs removed, `addBulk`. The same orders and events as scripts/benchmarks/peers/launch.py and calls.py.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const CHUNK_JOBS = 100;
const CONCURRENCY = 16;
const events = Number(process.env.MUSTER_BENCH_EVENTS);
const marks = new Set(process.env.MUSTER_BENCH_MARKS.split(" ").map(Number));
const connection = new Redis(process.env.MUSTER_BENCH_URL, { maxRetriesPerRequest: null });
const options = { removeOnComplete: true };

const now = () => process.hrtime.bigint();
const tell = (word, ...numbers) => writeSync(events, `${word} ${numbers.join(" ")}\n`);

let entries = 0;
async function job({ name, data }) {
  if (name === "probe") return tell("probe", data.index, now());
  entries += 1;
  if (marks.has(entries)) tell("mark", entries, now());
}

async function enqueue(queue, jobs) {
  for (let left = jobs; left > 0; left -= CHUNK_JOBS) {
    const chunk = Array.from({ length: Math.min(left, CHUNK_JOBS) }, () => ({ name: "noop", data: {}, opts: options }));
    await queue.addBulk(chunk);
  }
}

async function client() {
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  const submitted = [];
  tell("ready", 0);
  for await (const line of createInterface({ input: process.stdin })) {
    const [order, number] = line.split(" ");
    const before = now();
    if (order === "enqueue") {
      await enqueue(queue, Number(number));
      tell("enqueued", number, before, now());
    } else if (order === "submit") {
      await queue.add("probe", { index: Number(number) }, options);
      submitted.push([number, before, now()]);
    } else {
      for (const one of submitted.splice(0)) tell("submitted", ...one);
    }
  }
  process.exit(0);
}

if (process.argv[2] === "worker") {
  new Worker("bench", job, { connection, concurrency: CONCURRENCY });
} else {
  await client();
}
