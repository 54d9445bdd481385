// No-op jobs on BullMQ (taskforcesh/bullmq): a list of waiting jobs, a hash each, a lock while active; scripts that end one
// job and hand out the next in one step. Ended jobs are removed at once.
//
// `node bullmq_jobs.js fill` fills the queue, `work` works it off. Environment: PEER_REDIS (path of the socket), PEER_JOBS,
// PEER_CONCURRENCY, PEER_REDIS_PID, PEER_TALLY: a file, as in tally.py.

"use strict";

const fs = require("node:fs");
const { Queue, Worker } = require("bullmq");

const ALERT = { symbol: "SYM00001", action: "buy", quantity: "0.5", price: "64250.5" };
const TOGETHER = 500;
const jobs = Number(process.env.PEER_JOBS);
const file = process.env.PEER_TALLY;
const connection = { path: process.env.PEER_REDIS, maxRetriesPerRequest: null };

async function fill() {
  const queue = new Queue("jobs", { connection });
  for (let start = 0; start < jobs; start += TOGETHER) {
    const count = Math.min(TOGETHER, jobs - start);
    await queue.addBulk(
      Array.from({ length: count }, () => ({ name: "trade", data: ALERT, opts: { removeOnComplete: true } })),
    );
  }
  await queue.close();
}

// Passed so far, in seconds: time, processor time of this process, processor time of Redis in steps of 10 ms.
function times() {
  const own = process.cpuUsage();
  const stat = fs.readFileSync(`/proc/${process.env.PEER_REDIS_PID}/stat`, "utf8");
  // Behind the command's name, which may hold blanks: user and system time are the 12th and 13th field.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    elapsed_s: Number(process.hrtime.bigint()) / 1e9,
    worker_s: (own.user + own.system) / 1e6,
    redis_s: (Number(fields[11]) + Number(fields[12])) / 100,
  };
}

function work() {
  let ended = 0;
  let first = {};
  const trade = async () => {
    ended += 1;
    if (ended === 1) {
      first = times();
      fs.writeFileSync(`${file}.begun`, "");
    } else if (ended === jobs) {
      const passed = Object.entries(times()).map(([name, last]) => [name, last - first[name]]);
      fs.writeFileSync(`${file}.draft`, JSON.stringify(Object.fromEntries(passed)));
      fs.renameSync(`${file}.draft`, file);
    }
  };
  const worker = new Worker("jobs", trade, { connection, concurrency: Number(process.env.PEER_CONCURRENCY) });
  worker.on("error", (error) => console.error(error));
}

if (process.argv[2] === "fill") {
  fill();
} else {
  work();
}
